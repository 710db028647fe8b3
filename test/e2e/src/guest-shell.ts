import type { Platform } from './platform.ts';

/**
 * User data that lets tests run commands as root of the tiny guest over HTTP: no terminal whose output other programs
 * disturb. It is done anew at each boot, because the guest's root file system is in memory.
 */
export const SHELL_USER_DATA = `#cloud-config
user: demo
password: secret
write_files:
  - path: /www/cgi-bin/run
    permissions: "0755"
    content: |
      #!/bin/sh
      printf 'Content-Type: text/plain\\r\\n\\r\\n'
      head -c "$CONTENT_LENGTH" > /tmp/run.$$
      sh /tmp/run.$$ 2>&1
runcmd:
  - rm -f /data/instance-id
`;

interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; interfaces?: { ipAddress?: string }[] };
}

export interface GuestShell {
  readonly instanceUid: string;
  /** Where its server is. */
  readonly url: string;
  /** What the command prints, both streams; the deadline is generous because guests share two processors. */
  run(command: string): Promise<string>;
}

const POLL_MS = 200;
/** A command may read whole disks while the machine has much to do. */
const ANSWER_MS = 240_000;

/** Resolves when the guest of this instance answers commands; `previous` is the instance before a restart. */
export async function guestShell(platform: Platform, name: string, previous = '', timeoutMs = 240_000): Promise<GuestShell> {
  const isThere = ({ metadata, status }: Vmi): boolean =>
    metadata.uid !== previous && status?.phase === 'Running' && status.interfaces?.[0]?.ipAddress !== undefined;
  const { metadata, status } = await platform.until<Vmi>(`vmi ${name}`, isThere, timeoutMs);
  const url = `http://${status?.interfaces?.[0]?.ipAddress}`;
  const run = async (command: string): Promise<string> => {
    const answer = await fetch(`${url}/cgi-bin/run`, { method: 'POST', body: command, signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) throw new Error(`The guest answered ${answer.status} to "${command}"`);
    return answer.text();
  };
  const deadline = Date.now() + timeoutMs;
  for (let last = ''; Date.now() < deadline; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
    try {
      const answer = await fetch(`${url}/cgi-bin/run`, { method: 'POST', body: 'echo up', signal: AbortSignal.timeout(5_000) });
      last = await answer.text();
      if (answer.ok && last.startsWith('up')) return { instanceUid: metadata.uid, url, run };
    } catch (error) {
      last = String(error); // it boots
    }
  }
  throw new Error(`The guest ${name} did not answer in ${timeoutMs} ms`);
}

export interface GuestOptions {
  readonly runStrategy?: string;
  readonly memory?: string;
  readonly domain?: object;
  readonly devices?: object;
  readonly disks?: readonly object[];
  readonly volumes?: readonly object[];
  readonly seed?: object;
  readonly spec?: object;
  /** Instead of one card on the pod network. */
  readonly network?: { readonly interfaces: readonly object[]; readonly networks: readonly object[] };
  readonly annotations?: Readonly<Record<string, string>>;
  /** Storage class of the root disk; the default class otherwise. */
  readonly rootClass?: string;
}

const POD_NETWORK = { interfaces: [{ name: 'default', masquerade: {} }], networks: [{ name: 'default', pod: {} }] };

/** A VM with a root disk from this URL whose guest takes commands. */
export function shellVm(name: string, imageUrl: string, options: GuestOptions = {}): object {
  const { runStrategy = 'Always', memory = '256Mi', domain, devices, disks = [], volumes = [], seed, spec } = options;
  const { network = POD_NETWORK, annotations, rootClass } = options;
  const storage = { ...(rootClass && { storageClassName: rootClass }), resources: { requests: { storage: '128Mi' } } };
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'default' },
    spec: {
      runStrategy,
      dataVolumeTemplates: [
        {
          metadata: { name: `${name}-root` },
          spec: { source: { http: { url: imageUrl } }, storage },
        },
      ],
      template: {
        metadata: { labels: { app: name }, ...(annotations && { annotations }) },
        spec: {
          terminationGracePeriodSeconds: 5,
          ...spec,
          domain: {
            cpu: { cores: 1 },
            memory: { guest: memory },
            ...domain,
            devices: {
              ...devices,
              disks: [
                { name: 'root', bootOrder: 1, disk: { bus: 'virtio' } },
                { name: 'seed', disk: { bus: 'virtio' } },
                ...disks,
              ],
              interfaces: network.interfaces,
            },
          },
          networks: network.networks,
          volumes: [
            { name: 'root', dataVolume: { name: `${name}-root` } },
            { name: 'seed', ...(seed ?? { cloudInitNoCloud: { userData: SHELL_USER_DATA } }) },
            ...volumes,
          ],
        },
      },
    },
  };
}

/**
 * Switches feature gates on, as an administrator of HyperConverged does, and waits until they are. HyperConverged switches
 * gates off that are on by default; a gate may not be in both lists.
 */
export async function enableGates(platform: Platform, ...gates: readonly string[]): Promise<void> {
  const developer = '/spec/configuration/developerConfiguration';
  const patch = JSON.stringify([
    { op: 'add', path: `${developer}/disabledFeatureGates`, value: [] },
    ...gates.map((value) => ({ op: 'add', path: `${developer}/featureGates/-`, value })),
  ]);
  const list = await platform.until<{ items: { metadata: { name: string; namespace: string } }[] }>(
    'kubevirt -A',
    ({ items }) => items.length > 0,
  );
  const [kubevirt] = list.items;
  const namespace = kubevirt?.metadata.namespace ?? '';
  const annotation = `kubevirt.kubevirt.io/jsonpatch=${patch}`;
  await platform.kubectl('-n', namespace, 'annotate', '--overwrite', 'hco', 'kubevirt-hyperconverged', annotation);
  await platform.until<{ spec?: { configuration?: { developerConfiguration?: { featureGates?: string[] } } } }>(
    `kubevirt ${kubevirt?.metadata.name} -n ${namespace}`,
    ({ spec }) => gates.every((gate) => spec?.configuration?.developerConfiguration?.featureGates?.includes(gate)),
  );
}
