import {
  CDIConfigKind,
  type kubevirt,
  PersistentVolumeClaimKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { formatQuantity, isNotFound, parseQuantity, quantityOf, quantityValue } from '@slipway/apimachinery';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';
import { download } from './vmexport/index.ts';

interface GetFlags {
  readonly claimName?: string;
  readonly createClaim?: boolean;
  readonly storageClass?: string;
  readonly accessMode?: string;
}

interface DownloadFlags {
  readonly output?: string;
  readonly format: string;
  readonly insecure?: boolean;
  readonly serviceUrl?: string;
}

const MIB = 1024 * 1024;
/** KubeVirt-compat: what a dump needs beyond the guest's memory. */
const DUMP_OVERHEAD = 100 * MIB;
const POLL_MS = 2_000;
const DUMP_TIMEOUT_MS = 5 * 60_000;

/** memory-dump get, download and remove. */
export function addMemoryDumpCommands(host: CommandHost): void {
  const group = { ...host, program: host.program.command('memory-dump').description('Dump the memory of a virtual machine.') };
  addCommand<GetFlags>(group, {
    usage: 'get <vm>',
    description: 'Write the memory of a running guest into a claim.',
    options: (command) =>
      command
        .option('--claim-name <string>', 'claim to write into; without it: that of the dump before')
        .option('--create-claim', 'make the claim, large enough')
        .option('--storage-class <string>', 'storage class of the new claim')
        .option('--access-mode <string>', 'access mode of the new claim: ReadWriteOnce or ReadWriteMany'),
    run: getDump,
  });
  addCommand<DownloadFlags>(group, {
    usage: 'download <vm>',
    description: 'Download the last memory dump.',
    options: (command) =>
      command
        .option('--output <string>', 'where to write it; - is stdout')
        .option('--format <string>', 'gzip or raw', 'gzip')
        .option('--service-url <string>', 'address to use instead of that of the link')
        .option('--insecure', 'do not check the certificate of the export server'),
    run: downloadDump,
  });
  addCommand(group, {
    usage: 'remove <vm>',
    description: 'Forget the memory dump; the claim stays.',
    run: async ({ client, namespace, io }, [name = '']) => {
      await client.raw({ method: 'PUT', path: subresourcePath(namespace, 'virtualmachines', name, 'removememorydump') });
      print(io, `Successfully submitted remove memory dump association of VM ${name}`);
    },
  });
}

async function getDump(context: ActionContext, [name = '']: readonly string[], flags: GetFlags): Promise<void> {
  const { client, namespace, io } = context;
  if (flags.createClaim === true) await createClaim(context, name, flags);
  else if (flags.storageClass !== undefined || flags.accessMode !== undefined)
    throw new CommandFailure('--storage-class and --access-mode are for --create-claim alone');
  const body = { claimName: flags.claimName ?? '', phase: '' };
  await client.raw({ method: 'PUT', path: subresourcePath(namespace, 'virtualmachines', name, 'memorydump'), body });
  print(io, `Successfully submitted memory dump request of VM ${name}`);
}

async function createClaim(context: ActionContext, vmName: string, flags: GetFlags): Promise<void> {
  const { client, namespace, io } = context;
  const { claimName, storageClass, accessMode = 'ReadWriteOnce' } = flags;
  if (claimName === undefined) throw new CommandFailure('PVC name should be provided with --claim-name');
  if (accessMode === 'ReadOnlyMany')
    throw new CommandFailure('cannot dump memory to a readonly pvc, use either ReadWriteOnce or ReadWriteMany');
  const vm = await client.get(VirtualMachineKind, { namespace, name: vmName });
  const associated = vm.status?.memoryDumpRequest?.claimName;
  if (associated !== undefined && associated !== claimName)
    throw new CommandFailure(`please remove current memory dump association of ${associated} before creating a new claim`);
  if (await exists(context, claimName)) throw new CommandFailure(`PVC ${namespace}/${claimName} already exists`);
  const vmi = await client.get(VirtualMachineInstanceKind, { namespace, name: vmName });
  const storage = await sizeFor(context, vmi, storageClass);
  await client.create(PersistentVolumeClaimKind, {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: claimName, namespace },
    spec: {
      accessModes: [accessMode],
      resources: { requests: { storage } },
      ...(storageClass !== undefined && { storageClassName: storageClass }),
    },
  });
  print(io, `PVC ${namespace}/${claimName} created`);
}

async function exists({ client, namespace }: ActionContext, name: string): Promise<boolean> {
  try {
    await client.get(PersistentVolumeClaimKind, { namespace, name });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Guest memory and the dump's own need, plus what the file system keeps for itself, in whole MiB. */
async function sizeFor(
  { client }: ActionContext,
  { spec: { domain } }: kubevirt.VirtualMachineInstance,
  storageClass: string | undefined,
): Promise<string> {
  const memory = domain.memory?.guest ?? domain.resources?.requests?.['memory'];
  if (memory === undefined) throw new CommandFailure('the instance does not say how much memory it has');
  const config = await client.get(CDIConfigKind, { namespace: '', name: 'config' });
  const { storageClass: byClass, global } = config.status?.filesystemOverhead ?? {};
  const overhead = Number((storageClass === undefined ? undefined : byClass?.[storageClass]) ?? global ?? 0);
  const bytes = Number(quantityValue(parseQuantity(memory))) + DUMP_OVERHEAD;
  return formatQuantity(quantityOf(Math.ceil((bytes * (1 + overhead)) / MIB) * MIB, 'BinarySI'));
}

async function downloadDump(context: ActionContext, [name = '']: readonly string[], flags: DownloadFlags): Promise<void> {
  if (flags.output === undefined) throw new CommandFailure('required flag(s) "output" not set');
  const claim = await waitForDump(context, name);
  await download(context, `export-${name}-${claim}`, {
    ...flags,
    pvc: claim,
    manifestOutputFormat: 'yaml',
    retry: '0',
    readinessTimeout: '2m',
  });
}

/** The claim that holds a finished dump. */
async function waitForDump({ client, namespace, io }: ActionContext, name: string): Promise<string> {
  const deadline = io.now() + DUMP_TIMEOUT_MS;
  for (;;) {
    const { status } = await client.get(VirtualMachineKind, { namespace, name });
    const request = status?.memoryDumpRequest;
    if (request === undefined) throw new CommandFailure(`VM ${name} has no memory dump: make one with "memory-dump get"`);
    if (request.phase === 'Completed') return request.claimName;
    if (request.phase === 'Failed') throw new CommandFailure(`failed to dump the memory of VM ${name}: ${request.message ?? ''}`);
    if (io.now() >= deadline)
      throw new CommandFailure(`the memory dump of VM ${name} is still ${request.phase}: try again later`);
    await io.sleep(POLL_MS);
  }
}
