import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { addLocalCommand, type CommandHost } from '../context.ts';
import { CommandFailure } from '../io.ts';
import { collect, switchFlag } from '../pflag.ts';
import { blankMetadata, printManifest } from './manifest.ts';
import { checkQuantity, flagFailure, splitPrefixedName } from './params.ts';
import { accessCredentials, cloudInitVolume, type GuestFlags, sysprepVolume } from './vm-cloud-init.ts';
import { bootVolume, type PlannedVolume, planVolumes, type VolumeFlags } from './vm-volumes.ts';

interface VmFlags extends VolumeFlags, GuestFlags {
  readonly name?: string;
  readonly namespace?: string;
  readonly runStrategy: string;
  readonly terminationGracePeriod: string;
  readonly memory?: string;
  readonly instancetype?: string;
  readonly inferInstancetype?: boolean;
  readonly inferInstancetypeFrom?: string;
  readonly preference?: string;
  readonly inferPreference?: boolean;
  readonly inferPreferenceFrom?: string;
  readonly passwordFile?: string;
}

const RUN_STRATEGIES: readonly string[] = ['Always', 'Halted', 'Manual', 'Once', 'RerunOnFailure', 'WaitAsReceiver'];
const DEFAULT_MEMORY = '512Mi';

/** create vm. */
export function addCreateVmCommand(host: CommandHost): void {
  addLocalCommand<VmFlags>(host, {
    usage: 'vm',
    description: 'Print the manifest of a virtual machine.',
    options: (command) => guestOptions(volumeOptions(sizeOptions(command))),
    run: async (io, _, given) => {
      const password = given.passwordFile === undefined ? undefined : (await readFile(given.passwordFile, 'utf8')).trim();
      const flags = { ...given, ...(password !== undefined && { password }) };
      printManifest(io, planVm(flags.name ?? `vm-${io.randomName(5)}`, flags));
    },
  });
}

function sizeOptions(command: Command): Command {
  switchFlag(command, 'infer-instancetype', 'take the instance type of the boot volume; it is an error where it has none');
  switchFlag(command, 'infer-preference', 'take the preference of the boot volume; it is an error where it has none');
  return command
    .option('--name <string>', 'name of the virtual machine')
    .option('--run-strategy <string>', RUN_STRATEGIES.join(', '), 'Always')
    .option('--termination-grace-period <int>', 'seconds the guest has to shut down', '180')
    .addOption(new Option('--memory <string>', 'memory of the guest').default(undefined, `"${DEFAULT_MEMORY}"`))
    .option('--instancetype <string>', 'instance type, [kind/]name')
    .option('--infer-instancetype-from <string>', 'take the instance type of this volume')
    .option('--preference <string>', 'preference, [kind/]name')
    .option('--infer-preference-from <string>', 'take the preference of this volume');
}

function volumeOptions(command: Command): Command {
  return command
    .option('--volume-containerdisk <stringArray>', 'src:IMAGE[,name:NAME][,bootorder:N] (repeatable)', collect)
    .option('--volume-pvc <stringArray>', 'src:CLAIM[,name:NAME][,bootorder:N] (repeatable)', collect)
    .option('--volume-import <stringArray>', 'type:TYPE,src:SOURCE|url:URL,size:SIZE,… (repeatable)', collect)
    .option('--volume-datasource <stringArray>', 'older form of --volume-import type:ds (repeatable)', collect)
    .option('--volume-clone-pvc <stringArray>', 'older form of --volume-import type:pvc (repeatable)', collect)
    .option('--volume-blank <stringArray>', 'older form of --volume-import type:blank (repeatable)', collect)
    .option('--volume-sysprep <stringArray>', 'src:NAME[,type:configmap|secret]', collect);
}

function guestOptions(command: Command): Command {
  return switchFlag(command, 'ga-manage-ssh', 'let the guest agent manage SSH keys under SELinux')
    .option('--user <string>', 'main user of the guest')
    .option('--password-file <string>', "file with the main user's password")
    .option('--ssh-key <strings>', 'SSH key that may log in as the main user (repeatable)', collect)
    .option('--access-cred <stringArray>', 'src:SECRET[,type:ssh|password][,method:ga|nocloud|configdrive][,user:NAME]', collect)
    .option('--cloud-init <string>', 'nocloud, configdrive or none', 'nocloud')
    .option('--cloud-init-user-data <string>', 'user data of your own')
    .option('--cloud-init-network-data <string>', 'network data');
}

/** The VM of the flags (pure). Throws CommandFailure for flags that contradict each other. */
export function planVm(name: string, flags: VmFlags): object {
  checkCombinations(flags);
  const volumes = planVolumes(name, flags);
  const templates = volumes.flatMap(({ template }) => template ?? []);
  const instancetype = matcher('instancetype', flags.instancetype, flags.inferInstancetype, flags.inferInstancetypeFrom, volumes);
  const preference = matcher('preference', flags.preference, flags.inferPreference, flags.inferPreferenceFrom, volumes);
  const wantsMemory = flags.memory !== undefined || instancetype === undefined || instancetype.isGuess;
  const everyVolume = [...volumes.map(({ volume }) => volume), cloudInitVolume(flags), sysprepVolume(flags)].filter(
    (volume) => volume !== undefined,
  );
  const disks = volumes.flatMap((volume) =>
    volume.bootOrder === undefined ? [] : [{ bootOrder: volume.bootOrder, name: volume.name }],
  );
  const credentials = accessCredentials(flags);
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: blankMetadata(name, flags.namespace),
    spec: {
      ...(templates.length > 0 && { dataVolumeTemplates: templates }),
      // a memory size of the user's own leaves no room for an instance type that nobody named
      ...(instancetype !== undefined &&
        !(instancetype.isGuess && flags.memory !== undefined) && { instancetype: instancetype.value }),
      ...(preference !== undefined && { preference: preference.value }),
      runStrategy: flags.runStrategy,
      template: {
        metadata: { creationTimestamp: null },
        spec: {
          ...(credentials.length > 0 && { accessCredentials: credentials }),
          domain: {
            devices: disks.length > 0 ? { disks } : {},
            ...(wantsMemory && { memory: { guest: checkQuantity('memory', flags.memory ?? DEFAULT_MEMORY) } }),
            resources: {},
          },
          terminationGracePeriodSeconds: gracePeriod(flags.terminationGracePeriod),
          ...(everyVolume.length > 0 && { volumes: everyVolume }),
        },
      },
    },
    status: {},
  };
}

function checkCombinations(flags: VmFlags): void {
  const groups: readonly Readonly<Record<string, unknown>>[] = [
    {
      memory: flags.memory,
      instancetype: flags.instancetype,
      'infer-instancetype': flags.inferInstancetype === true ? true : undefined,
      'infer-instancetype-from': flags.inferInstancetypeFrom,
    },
    {
      preference: flags.preference,
      'infer-preference': flags.inferPreference === true ? true : undefined,
      'infer-preference-from': flags.inferPreferenceFrom,
    },
  ];
  for (const group of groups) {
    const given = Object.keys(group).filter((flag) => group[flag] !== undefined);
    if (given.length > 1)
      throw new CommandFailure(
        `if any flags in the group [${Object.keys(group).join(' ')}] are set none of the others can be; [${given.toSorted().join(' ')}] were all set`,
      );
  }
  if (!RUN_STRATEGIES.includes(flags.runStrategy))
    throw flagFailure(
      'run-strategy',
      `invalid run strategy "${flags.runStrategy}", supported values are: ${RUN_STRATEGIES.join(', ')}`,
    );
}

interface Matcher {
  readonly value: object;
  /** Nobody has asked for it: the boot volume may have none, and then nothing happens. */
  readonly isGuess: boolean;
}

function matcher(
  what: 'instancetype' | 'preference',
  named: string | undefined,
  infer: boolean | undefined,
  from: string | undefined,
  volumes: readonly PlannedVolume[],
): Matcher | undefined {
  if (named !== undefined) {
    const { prefix, name } = splitPrefixedName(what, named);
    const kinds = [`virtualmachine${what}`, `virtualmachinecluster${what}`];
    if (prefix !== undefined && !kinds.includes(prefix.toLowerCase()))
      throw flagFailure(what, `invalid ${what} kind "${prefix}", supported values are: ${kinds.join(', ')}`);
    return { value: { ...(prefix !== undefined && { kind: prefix }), name }, isGuess: false };
  }
  if (from !== undefined) {
    const volume = volumes.find(({ name }) => name === from);
    if (volume === undefined) throw new CommandFailure(`there is no volume with name '${from}'`);
    assertInferable(volume, what);
    return { value: { inferFromVolume: from }, isGuess: false };
  }
  const boot = bootVolume(volumes);
  if (infer === true) {
    if (boot === undefined) throw new CommandFailure(`at least one volume is needed to infer an ${what} or preference`);
    assertInferable(boot, what);
    return { value: { inferFromVolume: boot.name }, isGuess: false };
  }
  if (infer === false || boot === undefined || !boot.isInferable) return undefined;
  return { value: { inferFromVolume: boot.name, inferFromVolumeFailurePolicy: 'Ignore' }, isGuess: true };
}

function assertInferable({ name, isInferable }: PlannedVolume, what: string): void {
  if (!isInferable)
    throw new CommandFailure(
      `inference of ${what} is not possible from volume '${name}': it needs a PVC, DataSource or snapshot`,
    );
}

function gracePeriod(text: string): number {
  if (!/^\d+$/.test(text)) throw new CommandFailure(`invalid argument "${text}" for "--termination-grace-period" flag`);
  return Number(text);
}
