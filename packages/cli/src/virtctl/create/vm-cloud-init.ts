import { CommandFailure } from '../io.ts';
import { flagFailure, parseParams, required, splitPrefixedName } from './params.ts';

/** Values of the flags that decide about cloud-init and access credentials; `password` is the text of its file. */
export interface GuestFlags {
  readonly user?: string;
  readonly password?: string;
  readonly sshKey?: readonly string[];
  readonly gaManageSsh?: boolean;
  readonly accessCred?: readonly string[];
  readonly cloudInit: string;
  readonly cloudInitUserData?: string;
  readonly cloudInitNetworkData?: string;
  readonly volumeSysprep?: readonly string[];
}

const VOLUME_TYPES: Readonly<Record<string, string>> = { nocloud: 'cloudInitNoCloud', configdrive: 'cloudInitConfigDrive' };

/** The cloud-init volume of the flags; none when nothing has to be said to the guest. */
export function cloudInitVolume(flags: GuestFlags): object | undefined {
  const generated = generatedUserData(flags);
  if (flags.cloudInitUserData !== undefined && generated !== undefined)
    throw new CommandFailure(
      '--cloud-init-user-data cannot be combined with --user, --password-file, --ssh-key or --ga-manage-ssh',
    );
  if (flags.cloudInit.toLowerCase() === 'none') return undefined;
  const type = VOLUME_TYPES[flags.cloudInit.toLowerCase()];
  if (type === undefined)
    throw flagFailure('cloud-init', `unknown cloud-init type ${flags.cloudInit}: use nocloud, configdrive or none`);
  const source = {
    ...(flags.cloudInitNetworkData !== undefined && { networkDataBase64: flags.cloudInitNetworkData }),
    ...(generated !== undefined && { userData: generated }),
    ...(flags.cloudInitUserData !== undefined && { userDataBase64: flags.cloudInitUserData }),
  };
  return Object.keys(source).length === 0 && methods(flags).every((method) => method === 'ga')
    ? undefined
    : { [type]: source, name: 'cloudinitdisk' };
}

function generatedUserData(flags: GuestFlags): string | undefined {
  const hasAgentKeys = (flags.accessCred ?? []).some((text) => {
    const { type, method } = parseCredential(text);
    return type === 'ssh' && method === 'ga';
  });
  const lines = [
    ...(flags.user === undefined ? [] : [`user: ${flags.user}`]),
    ...(flags.password === undefined ? [] : [`password: ${flags.password}`, 'chpasswd: { expire: False }']),
    ...(flags.sshKey === undefined ? [] : ['ssh_authorized_keys:', ...flags.sshKey.map((key) => `  - ${key}`)]),
    // where SELinux is enforced, the agent may write authorized_keys only after this
    ...((flags.gaManageSsh ?? hasAgentKeys) ? ['runcmd:', "  - [ setsebool, -P, 'virt_qemu_ga_manage_ssh', 'on' ]"] : []),
  ];
  return lines.length === 0 ? undefined : ['#cloud-config', ...lines].join('\n');
}

const METHODS: Readonly<Record<string, string>> = { ga: 'qemuGuestAgent', nocloud: 'noCloud', configdrive: 'configDrive' };

function parseCredential(text: string) {
  const flag = 'access-cred';
  const params = parseParams(flag, text, ['src', 'type', 'method', 'user']);
  const type = params.type?.toLowerCase() ?? 'ssh';
  const method = params.method?.toLowerCase() ?? 'ga';
  if (type !== 'ssh' && type !== 'password')
    throw flagFailure(flag, `invalid access credential type ${type}: use ssh or password`);
  if (METHODS[method] === undefined)
    throw flagFailure(flag, `invalid propagation method ${method}: use ga, nocloud or configdrive`);
  if (type === 'password' && method !== 'ga')
    throw flagFailure(flag, 'a password is propagated by the guest agent alone: method:ga');
  if (params.user !== undefined && (type === 'password' || method !== 'ga'))
    throw flagFailure(flag, 'user is for SSH keys with method:ga alone');
  return { type, method, user: params.user, secret: required(flag, params, 'src') };
}

const methods = ({ accessCred }: GuestFlags): string[] => (accessCred ?? []).map((text) => parseCredential(text).method);

/** `accessCredentials` of the flags; the main user is the default of agent SSH keys. */
export function accessCredentials(flags: GuestFlags): object[] {
  return (flags.accessCred ?? []).map((text) => {
    const { type, method, user = flags.user, secret } = parseCredential(text);
    if (type === 'ssh' && method === 'ga' && user === undefined)
      throw flagFailure('access-cred', 'user must be specified with the "user" param or the "--user" flag');
    const propagation = type === 'ssh' && method === 'ga' ? { users: [user] } : {};
    return {
      [type === 'ssh' ? 'sshPublicKey' : 'userPassword']: {
        propagationMethod: { [METHODS[method] ?? '']: propagation },
        source: { secret: { secretName: secret } },
      },
    };
  });
}

/** The sysprep volume of the flags; a guest reads one only. */
export function sysprepVolume({ volumeSysprep = [] }: GuestFlags): object | undefined {
  const flag = 'volume-sysprep';
  const [text, ...more] = volumeSysprep;
  if (text === undefined) return undefined;
  if (more.length > 0) throw flagFailure(flag, 'only one sysprep volume is possible');
  const params = parseParams(flag, text, ['src', 'type']);
  const { prefix, name } = splitPrefixedName(flag, required(flag, params, 'src'));
  if (prefix !== undefined) throw flagFailure(flag, 'not allowed to specify namespace of configmap or secret');
  const type = params.type?.toLowerCase() ?? 'configmap';
  if (type !== 'configmap' && type !== 'secret')
    throw flagFailure(flag, `invalid source type "${type}": use configmap or secret`);
  return { name: 'sysprepdisk', sysprep: { [type === 'secret' ? 'secret' : 'configMap']: { name } } };
}
