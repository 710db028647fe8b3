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
import { failing } from './failing.ts';
import { CommandFailure, print } from './io.ts';
import { download } from './vmexport/index.ts';

interface DumpFlags {
  readonly claimName?: string;
  readonly createClaim?: boolean;
  readonly storageClass?: string;
  readonly accessMode?: string;
  readonly output?: string;
  readonly format?: string;
  readonly portForward?: boolean;
  readonly localPort: string;
}

const MIB = 1024 * 1024;
/** KubeVirt-compat: what a dump needs beyond the guest's memory. */
const DUMP_OVERHEAD = 100 * MIB;
const DEFAULT_OVERHEAD = 0.055;
const POLL_MS = 2_000;
const DUMP_TIMEOUT_MS = 10 * 60_000;
const DOWNLOAD_RETRIES = '2';

const EXAMPLES = `  # Dump the memory of the guest of 'web' into an existing claim:
  PROGRAM memory-dump get web --claim-name=dump

  # Make the claim for it, large enough:
  PROGRAM memory-dump get web --claim-name=dump --create-claim

  # Dump once more into the same claim, and download it:
  PROGRAM memory-dump get web --output=web.dump.gz

  # Download the last dump:
  PROGRAM memory-dump download web --output=web.dump.gz

  # Forget the claim, so that another one can be used:
  PROGRAM memory-dump remove web`;

/** memory-dump get, download and remove. */
export function addMemoryDumpCommands(host: CommandHost): void {
  addCommand<DumpFlags>(host, {
    usage: 'memory-dump <action> <vm>',
    shown: 'get/download/remove (VM)',
    description: 'Dump the memory of a running virtual machine into a claim.',
    examples: EXAMPLES,
    options: (command) =>
      command
        .option('--claim-name <string>', 'claim to write into; without it: that of the dump before')
        .option('--create-claim', 'make the claim, large enough')
        .option('--storage-class <string>', 'storage class of the new claim')
        .option('--access-mode <string>', 'access mode of the new claim: ReadWriteOnce or ReadWriteMany')
        .option('--output <string>', 'where the download is written; - is stdout')
        .option('--format <string>', 'gzip or raw; without it gzip')
        .option('--port-forward', 'download through the API server, at a port of this machine')
        .option('--local-port <string>', 'with --port-forward: the port of this machine; 0: any', '0'),
    run: async (context, [action = '', name = ''], flags) => {
      switch (action) {
        case 'get':
          return getDump(context, name, flags);
        case 'download':
          return downloadDump(context, name, flags);
        case 'remove':
          return removeDump(context, name);
        default:
          throw new CommandFailure(`invalid action type ${action}`);
      }
    },
  });
}

async function removeDump({ client, namespace, io }: ActionContext, name: string): Promise<void> {
  const path = subresourcePath(namespace, 'virtualmachines', name, 'removememorydump');
  await failing('error removing memory dump association, ', client.raw({ method: 'PUT', path }));
  print(io, `Successfully submitted remove memory dump association of VM ${name}`);
}

async function getDump(context: ActionContext, name: string, flags: DumpFlags): Promise<void> {
  const { client, namespace, io } = context;
  if (flags.createClaim === true) await createClaim(context, name, flags);
  const body = { claimName: flags.claimName ?? '', phase: '' };
  const path = subresourcePath(namespace, 'virtualmachines', name, 'memorydump');
  await failing('error dumping vm memory, ', client.raw({ method: 'PUT', path, body }));
  print(io, `Successfully submitted memory dump request of VM ${name}`);
  if (flags.output !== undefined) await downloadDump(context, name, flags);
}

async function createClaim(context: ActionContext, vmName: string, flags: DumpFlags): Promise<void> {
  const { client, namespace, io } = context;
  const { claimName, storageClass, accessMode = 'ReadWriteOnce' } = flags;
  if (claimName === undefined) throw new CommandFailure('missing claim name');
  checkAccessMode(accessMode);
  const vm = await client.get(VirtualMachineKind, { namespace, name: vmName });
  if (vm.status?.memoryDumpRequest !== undefined)
    throw new CommandFailure('please remove current memory dump association before creating a new claim for a new memory dump');
  if (await exists(context, claimName))
    throw new CommandFailure(
      `PVC ${namespace}/${claimName} already exists, check if it should be created if not remove create flag`,
    );
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

function checkAccessMode(mode: string): void {
  if (mode === 'ReadOnlyMany')
    throw new CommandFailure('cannot dump memory to a readonly pvc, use either ReadWriteOnce or ReadWriteMany if supported');
  if (mode !== 'ReadWriteOnce' && mode !== 'ReadWriteMany')
    throw new CommandFailure('invalid access mode, use either ReadWriteOnce or ReadWriteMany if supported');
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
  context: ActionContext,
  { spec: { domain } }: kubevirt.VirtualMachineInstance,
  storageClass: string | undefined,
): Promise<string> {
  const memory = domain.memory?.guest ?? domain.resources?.requests?.['memory'];
  if (memory === undefined) throw new CommandFailure('the instance does not say how much memory it has');
  const overhead = await fileSystemOverhead(context, storageClass);
  const bytes = Number(quantityValue(parseQuantity(memory))) + DUMP_OVERHEAD;
  return formatQuantity(quantityOf(Math.ceil((bytes * (1 + overhead)) / MIB) * MIB, 'BinarySI'));
}

/** The share of a volume that its file system keeps for itself. */
async function fileSystemOverhead({ client, io }: ActionContext, storageClass: string | undefined): Promise<number> {
  try {
    const config = await client.get(CDIConfigKind, { namespace: '', name: 'config' });
    const { storageClass: byClass, global } = config.status?.filesystemOverhead ?? {};
    return Number((storageClass === undefined ? undefined : byClass?.[storageClass]) ?? global ?? 0);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    print(io, 'Using default 5.5% filesystem overhead for pvc size');
    return DEFAULT_OVERHEAD;
  }
}

async function downloadDump(context: ActionContext, name: string, flags: DumpFlags): Promise<void> {
  const { output, format, portForward, localPort } = flags;
  if (output === undefined) throw new CommandFailure('missing outputFile to download the memory dump');
  const claim = await waitForDump(context, name);
  await download(context, `export-${name}-${claim}`, {
    pvc: claim,
    output,
    insecure: true, // KubeVirt-compat: the export server of a dump is not checked
    localPort,
    retry: DOWNLOAD_RETRIES,
    ...(format === 'raw' && { format }),
    ...(portForward !== undefined && { portForward }),
  });
}

/** The claim that holds a finished dump. */
async function waitForDump({ client, namespace, io }: ActionContext, name: string): Promise<string> {
  const deadline = io.now() + DUMP_TIMEOUT_MS;
  for (;;) {
    const { status } = await client.get(VirtualMachineKind, { namespace, name });
    const request = status?.memoryDumpRequest;
    if (request === undefined) throw new CommandFailure(`VM ${name} has no memory dump: make one with "memory-dump get"`);
    if (request.phase === 'Completed') {
      print(io, 'Memory dump completed successfully');
      return request.claimName;
    }
    if (request.phase === 'Failed') throw new CommandFailure(`failed to dump the memory of VM ${name}: ${request.message ?? ''}`);
    if (io.now() >= deadline)
      throw new CommandFailure(`the memory dump of VM ${name} is still ${request.phase}: try again later`);
    print(io, `Waiting for memorydump ${request.claimName} to complete, current phase: ${request.phase}...`);
    await io.sleep(POLL_MS);
  }
}
