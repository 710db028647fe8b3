import { type Pod, PersistentVolumeClaimKind, PodKind, VirtualMachineKind } from '@slipway/api';
import { isNotFound, isObject } from '@slipway/apimachinery';
import { groupPath, guestfsPath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { guestfsPod, type GuestfsPodOptions, podNameFor } from './guestfs-pod.ts';
import { CommandFailure, print } from './io.ts';
import { switchFlag } from './pflag.ts';
import { onTerminal, REMOTE_COMMAND_PROTOCOLS } from './remote-command.ts';

interface GuestfsFlags {
  readonly image?: string;
  readonly pullPolicy: string;
  readonly kvm: boolean;
  readonly root?: boolean;
  readonly uid?: string;
  readonly gid?: string;
  readonly fsGroup?: string;
  readonly vm?: string;
}

const PULL_POLICIES: readonly string[] = ['Always', 'Never', 'IfNotPresent'];
const IMAGE = 'libguestfs-tools';
const KVM = 'devices.kubevirt.io/kvm';
const POLL_MS = 1_000;
const START_TIMEOUT_MS = 500_000;

/** guestfs: a shell with the tools for disk images on a claim that nobody uses. */
export function addGuestfsCommand(host: CommandHost): void {
  addCommand<GuestfsFlags>(host, {
    usage: 'guestfs <pvc>',
    shown: '(PVC)',
    description: `Open a shell with the tools for disk images on a claim.
A claim with a file system is at /disk, one that is a block device at /dev/vda.`,
    examples: '  # Look into the disk of a stopped virtual machine:\n  PROGRAM guestfs web-root',
    options: (command) =>
      switchFlag(
        command
          .option('--image <string>', 'image of the tools; without it the one of the platform')
          .option('--pull-policy <string>', 'Always, Never or IfNotPresent', 'IfNotPresent')
          .option('--root', 'run the tools as root')
          .option('--uid <string>', 'user id of the tools; not with --root')
          .option('--gid <string>', 'group id of the tools; with --uid alone')
          .option('--fsGroup <string>', 'group that owns the files of the claim')
          .option('--vm <string>', 'run where this virtual machine may run'),
        'kvm',
        'let the tools use KVM',
        true,
      ),
    run: (context, [claim = ''], flags) => openShell(context, claim, flags),
  });
}

async function openShell(context: ActionContext, claim: string, flags: GuestfsFlags): Promise<void> {
  const { client, namespace, io } = context;
  if (!PULL_POLICIES.includes(flags.pullPolicy)) throw new CommandFailure(`Invalid pull policy: ${flags.pullPolicy}`);
  const image = flags.image ?? (await imageOf(context));
  print(io, `Use image: ${image} `);
  await checkUnused(context, claim);
  const { spec } = await client.get(PersistentVolumeClaimKind, { namespace, name: claim });
  const isBlock = spec?.volumeMode === 'Block';
  const options: GuestfsPodOptions = { ...flags, ...securityOf(flags), claim, image, isBlock };
  const pod = guestfsPod(namespace, options, flags.vm === undefined ? undefined : await templateOf(context, flags.vm));
  print(io, `The PVC has been mounted at ${isBlock ? '/dev/vda' : '/disk'} `);
  await client.create(PodKind, pod);
  try {
    const session = waitUntilRunning(context, podNameFor(claim)).then(() => attach(context, podNameFor(claim)));
    await Promise.race([session, io.interrupted()]);
  } finally {
    await client.delete(PodKind, { namespace, name: podNameFor(claim) });
  }
}

/** The image that the platform names. Throws CommandFailure when it names none. */
async function imageOf({ client }: ActionContext): Promise<string> {
  await client.raw({ method: 'GET', path: groupPath }); // KubeVirt-compat: the client looks for the group first
  const { body } = await client.raw({ method: 'GET', path: guestfsPath });
  const info: Readonly<Record<string, unknown>> = isObject(body) ? body : {};
  const text = (key: string): string => (typeof info[key] === 'string' ? info[key] : '');
  if (text('gsImage') !== '') return text('gsImage');
  const version = text('digest') === '' ? `:${text('tag')}` : `@${text('digest')}`;
  if (version === ':') throw new CommandFailure('Neither the digest nor the tag for the image has been specified');
  const name = `${text('imagePrefix')}${IMAGE}${version}`;
  return text('registry') === '' ? name : `${text('registry')}/${name}`;
}

async function checkUnused({ client, namespace }: ActionContext, claim: string): Promise<void> {
  try {
    await client.get(PersistentVolumeClaimKind, { namespace, name: claim });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new CommandFailure(`The PVC ${claim} doesn't exist`);
  }
  const { items } = await client.list(PodKind, { namespace });
  const isUsed = items.some(
    ({ spec, status }) =>
      status?.phase !== 'Succeeded' &&
      status?.phase !== 'Failed' &&
      (spec?.volumes ?? []).some(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === claim),
  );
  if (isUsed) throw new CommandFailure(`PVC ${claim} is used by another pod`);
}

type Ids = Pick<GuestfsPodOptions, 'userId' | 'groupId' | 'fileGroupId'>;

/** Throws CommandFailure for ids that contradict each other or are none. */
function securityOf({ root, uid, gid, fsGroup }: GuestfsFlags): Ids {
  const isRoot = root === true;
  if (isRoot && uid !== undefined) throw new CommandFailure('cannot set uid if root is true');
  if (gid !== undefined && uid === undefined) throw new CommandFailure('gid requires the uid to be set');
  if (isRoot && fsGroup !== undefined) throw new CommandFailure('cannot set fsGroup id with root');
  const id = (text: string | undefined): number | undefined => {
    if (text === undefined) return isRoot ? 0 : undefined;
    if (!/^\d+$/.test(text)) throw new CommandFailure(`strconv.ParseInt: parsing "${text}": invalid syntax`);
    return Number(text);
  };
  return { userId: id(uid), groupId: id(gid), fileGroupId: id(fsGroup) };
}

async function templateOf({ client, namespace }: ActionContext, name: string) {
  const { spec } = await client.get(VirtualMachineKind, { namespace, name });
  return { labels: spec.template.metadata?.labels, ...spec.template.spec };
}

/** Polls until the pod runs. Throws CommandFailure when it has ended, or does not start in time. */
async function waitUntilRunning({ client, namespace, io }: ActionContext, name: string): Promise<void> {
  const deadline = io.now() + START_TIMEOUT_MS;
  let told = '';
  for (;;) {
    const pod = await client.get(PodKind, { namespace, name });
    const phase = pod.status?.phase ?? 'Pending';
    if (phase === 'Running') return;
    if (phase !== 'Pending') throw new CommandFailure(`Pod is not in running state but got ${phase}${endOf(pod)}`);
    const waiting = whyPending(pod);
    if (waiting !== '' && waiting !== told) print(io, waiting);
    told = waiting;
    if (io.now() >= deadline) throw new CommandFailure(`timeout in waiting for the containers to be started in pod ${name}`);
    await io.sleep(POLL_MS);
  }
}

/** What the pod's container said at its end. */
function endOf({ status }: Pod): string {
  const message = status?.message ?? status?.containerStatuses?.[0]?.state?.terminated?.message;
  return message === undefined ? '' : `: ${message}`;
}

function whyPending({ status }: Pod): string {
  const container = status?.containerStatuses?.find(({ state }) => state?.waiting !== undefined);
  if (container?.state?.waiting !== undefined) {
    const { reason = '', message = '' } = container.state.waiting;
    return `Waiting for container ${container.name} still in pending, reason: ${reason}, message: ${message} `;
  }
  const condition = status?.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
  if (condition === undefined) return '';
  const message = condition.message ?? condition.reason ?? '';
  return `Waiting for a node: ${message}${message.includes(KVM) ? ' (a node without KVM takes --kvm=false)' : ''}`;
}

async function attach({ client, namespace, io }: ActionContext, name: string): Promise<void> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/attach`;
  const query = { container: 'libguestfs', stdin: 'true', stdout: 'true', stderr: 'true', tty: 'true' };
  const stream = await client.connect({ path, query, protocols: REMOTE_COMMAND_PROTOCOLS });
  io.stdout.write("If you don't see a command prompt, try pressing enter.");
  await onTerminal(stream, io);
}
