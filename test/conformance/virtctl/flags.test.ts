// Every command and flag of KubeVirt's client at level 1.9, with the default that its help shows.
import { PassThrough } from 'node:stream';
import { runVirtctl, terminalIo } from '@slipway/cli';
import { describe, expect, it } from 'vitest';

const CONNECTION =
  'kubeconfig context n namespace server token as as-group certificate-authority client-certificate client-key cluster insecure-skip-tls-verify request-timeout tls-server-name user v';
const STOP = 'force grace-period=-1 dry-run';
const SSH = 'l i known-hosts p port=22 t local-ssh-opts username identity-file';
const CREDENTIALS = 'u user secret create-secret update-secret force';

/** Flags by command; `name=value`: with that default. */
const COMMANDS: Readonly<Record<string, string>> = {
  start: 'paused dry-run',
  stop: STOP,
  restart: STOP,
  pause: 'dry-run',
  unpause: 'dry-run',
  'soft-reboot': '',
  reset: '',
  migrate: 'addedNodeSelector dry-run',
  'migrate-cancel': 'dry-run',
  'evacuate-cancel': 'dry-run',
  expand: 'vm f file o output=yaml',
  addvolume: 'volume-name disk-name serial cache bus=scsi disk-type=disk persist dry-run',
  removevolume: 'volume-name persist dry-run',
  guestosinfo: '',
  userlist: '',
  fslist: '',
  objectgraph: 'vmi exclude-optional selector o',
  'memory-dump': 'claim-name create-claim storage-class access-mode output format port-forward local-port',
  'permitted-devices': '',
  version: 'c client',
  'adm log-verbosity': 'virt-api virt-controller virt-handler virt-launcher virt-operator all reset',
  console: 'timeout=5',
  vnc: 'address=127.0.0.1 port proxy-only preserve-session vnc-type vnc-path f file m move-cursor',
  usbredir: 'no-launch',
  'port-forward': 'address=127.0.0.1 stdio',
  ssh: `${SSH} c command`,
  scp: `${SSH} r recursive preserve`,
  expose:
    'name port target-port port-name protocol=TCP type=ClusterIP cluster-ip external-ip ip-family ip-family-policy load-balancer-ip',
  'image-upload':
    'image-path archive-path size storage-class access-mode volume-mode block-volume uploadproxy-url insecure no-create force-bind wait-secs=300 retry=5 datasource default-instancetype default-instancetype-kind default-preference default-preference-kind pvc-name pvc-size',
  guestfs: 'image pull-policy=IfNotPresent kvm=true root uid gid fsGroup vm',
  vmexport:
    'vm snapshot pvc vmtemplate volume output format manifest include-secret manifest-output-format service-url ttl keep-vme delete-vme insecure port-forward local-port retry labels annotations readiness-timeout',
  'create vm':
    'name run-strategy=Always termination-grace-period=180 memory=512Mi instancetype infer-instancetype infer-instancetype-from preference infer-preference infer-preference-from volume-containerdisk volume-pvc volume-import volume-sysprep user password-file ssh-key ga-manage-ssh access-cred cloud-init=nocloud cloud-init-user-data cloud-init-network-data volume-datasource volume-clone-pvc volume-blank',
  'create instancetype': 'name cpu memory gpu hostdevice iothreadspolicy namespaced',
  'create preference': 'name cpu-topology machine-type volume-storage-class namespaced',
  'create clone':
    'name source-name source-type=vm target-name target-type=vm label-filter annotation-filter template-label-filter template-annotation-filter new-mac-address new-smbios-serial',
  'credentials add-ssh-key': `${CREDENTIALS} f file value`,
  'credentials remove-ssh-key': `${CREDENTIALS} f file value`,
  'credentials set-password': `${CREDENTIALS} p password`,
  'template process': 'name f file p param params-file local create print-params o output=yaml',
  'template convert': 'name f file o output=yaml',
  'template create': 'name vm-name vm-namespace',
  'completion bash': 'no-descriptions',
  'completion zsh': 'no-descriptions',
  'completion fish': 'no-descriptions',
  'completion powershell': 'no-descriptions',
};

async function printed(...argv: string[]): Promise<{ status: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const sink = (to: 'out' | 'err') => new PassThrough().on('data', (data: Buffer) => (texts[to] += data.toString()));
  const terminal = terminalIo({
    env: {},
    home: '/nowhere',
    self: ['virtctl'],
    version: { gitVersion: 'v1.9.0', gitCommit: '', buildDate: '' },
    runProgram: async () => 0,
  });
  const status = await runVirtctl(argv, { ...terminal, stdout: sink('out'), stderr: sink('err') });
  return { status, ...texts };
}

/** Flags of a help text with their defaults: `port=22`, `p`, `force`. */
function flagsOf(help: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of help.split('\n')) {
    const [, short, long = ''] = /^ {2}(?:-(\w), | {4})--([\w-]+)/.exec(line) ?? [];
    const [, value = ''] = /\(default "?([^")]*)"?\)$/.exec(line) ?? [];
    if (long === '') continue;
    found.set(long, value);
    if (short !== undefined) found.set(short, '');
  }
  return found;
}

describe('the help of', () => {
  it.each(Object.entries(COMMANDS))('%s names its flags', async (command, expected) => {
    const { status, out, err } = await printed(...command.split(' '), '--help');
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(/^Usage:\n {2}virtctl /m);
    const flags = flagsOf(out);
    expect(flags.has('help')).toBe(true);
    for (const flag of expected.split(' ').filter(Boolean)) {
      const [name = '', value] = flag.split('=');
      expect(flags.has(name), `--${name}`).toBe(true);
      if (value !== undefined) expect(flags.get(name), `default of --${name}`).toBe(value);
    }
  });

  it('the program names every command, and those that are ours alone', async () => {
    const { out } = await printed();
    const listed = [...out.matchAll(/^ {2}([\w-]+) /gm)].map(([, name]) => name);
    const known = new Set(Object.keys(COMMANDS).map((command) => command.split(' ')[0]));
    const own = ['help', 'suspend', 'resume', 'discard-memory'];
    expect(new Set(listed)).toEqual(new Set([...known, ...own]));
  });

  it('the connection is a page of its own', async () => {
    const flags = flagsOf((await printed('options')).out);
    for (const name of CONNECTION.split(' ')) expect(flags.has(name), name).toBe(true);
    expect((await printed('start', '--help')).out).not.toContain('--kubeconfig');
  });
});
