import { addLocalCommand, type CommandHost } from '../context.ts';
import { CommandFailure } from '../io.ts';
import { collect } from '../pflag.ts';
import { blankMetadata, printManifest } from './manifest.ts';
import { checkQuantity, parseParams, required } from './params.ts';

const API_VERSION = 'instancetype.kubevirt.io/v1beta1';

interface InstancetypeFlags {
  readonly name?: string;
  readonly namespace?: string;
  readonly cpu?: string;
  readonly memory?: string;
  readonly gpu?: readonly string[];
  readonly hostdevice?: readonly string[];
  readonly iothreadspolicy?: string;
  readonly namespaced?: boolean;
}

interface PreferenceFlags {
  readonly name?: string;
  readonly namespace?: string;
  readonly cpuTopology?: string;
  readonly machineType?: string;
  readonly volumeStorageClass?: string;
  readonly namespaced?: boolean;
}

const TOPOLOGIES: readonly string[] = [
  ...['sockets', 'cores', 'threads', 'spread', 'any'],
  ...['preferSockets', 'preferCores', 'preferThreads', 'preferSpread', 'preferAny'],
];

/** create instancetype. */
export function addCreateInstancetypeCommand(host: CommandHost): void {
  addLocalCommand<InstancetypeFlags>(host, {
    usage: 'instancetype',
    description: 'Print the manifest of an instance type.',
    options: (command) =>
      command
        .option('--name <string>', 'name of the instance type')
        .option('--cpu <uint32>', 'number of vCPUs')
        .option('--memory <string>', 'memory of the guest')
        .option('--gpu <stringArray>', 'a GPU, name:NAME,devicename:RESOURCE (repeatable)', collect)
        .option('--hostdevice <stringArray>', 'a host device, name:NAME,devicename:RESOURCE (repeatable)', collect)
        .option('--iothreadspolicy <string>', 'shared, auto or supplementalPool')
        .option('--namespaced', 'an instance type of one namespace instead of the cluster'),
    run: async (io, _, flags) => {
      if (flags.cpu === undefined || flags.memory === undefined) {
        const missing = [...(flags.cpu === undefined ? ['"cpu"'] : []), ...(flags.memory === undefined ? ['"memory"'] : [])];
        throw new CommandFailure(`required flag(s) ${missing.join(', ')} not set`);
      }
      if (!/^[1-9]\d*$/.test(flags.cpu))
        throw new CommandFailure(`invalid argument "${flags.cpu}" for "--cpu" flag: give a whole number greater than 0`);
      const gpus = (flags.gpu ?? []).map((text) => device('gpu', text));
      const hostDevices = (flags.hostdevice ?? []).map((text) => device('hostdevice', text));
      printManifest(io, {
        apiVersion: API_VERSION,
        kind: flags.namespaced === true ? 'VirtualMachineInstancetype' : 'VirtualMachineClusterInstancetype',
        metadata: blankMetadata(flags.name ?? `instancetype-${io.randomName(5)}`, namespaceOf(flags)),
        spec: {
          cpu: { guest: Number(flags.cpu) },
          ...(gpus.length > 0 && { gpus }),
          ...(hostDevices.length > 0 && { hostDevices }),
          ...(flags.iothreadspolicy !== undefined && { ioThreadsPolicy: ioThreadsPolicy(flags.iothreadspolicy) }),
          memory: { guest: checkQuantity('memory', flags.memory) },
        },
      });
    },
  });
}

/** create preference. */
export function addCreatePreferenceCommand(host: CommandHost): void {
  addLocalCommand<PreferenceFlags>(host, {
    usage: 'preference',
    description: 'Print the manifest of a preference.',
    options: (command) =>
      command
        .option('--name <string>', 'name of the preference')
        .option('--cpu-topology <string>', TOPOLOGIES.join(', '))
        .option('--machine-type <string>', 'preferred machine type')
        .option('--volume-storage-class <string>', 'preferred storage class of the volumes')
        .option('--namespaced', 'a preference of one namespace instead of the cluster'),
    run: async (io, _, flags) => {
      const { cpuTopology, machineType, volumeStorageClass } = flags;
      if (cpuTopology !== undefined && !TOPOLOGIES.includes(cpuTopology))
        throw new CommandFailure(
          `failed to parse "--cpu-topology" flag: CPU topology must have a value of ${TOPOLOGIES.join(', ')}`,
        );
      printManifest(io, {
        apiVersion: API_VERSION,
        kind: flags.namespaced === true ? 'VirtualMachinePreference' : 'VirtualMachineClusterPreference',
        metadata: blankMetadata(flags.name ?? `preference-${io.randomName(5)}`, namespaceOf(flags)),
        spec: {
          ...(cpuTopology !== undefined && { cpu: { preferredCPUTopology: cpuTopology } }),
          ...(machineType !== undefined && { machine: { preferredMachineType: machineType } }),
          ...(volumeStorageClass !== undefined && { volumes: { preferredStorageClassName: volumeStorageClass } }),
        },
      });
    },
  });
}

const namespaceOf = ({ namespaced, namespace }: { readonly namespaced?: boolean; readonly namespace?: string }) =>
  namespaced === true ? namespace : undefined;

function device(flag: string, text: string): object {
  const params = parseParams(flag, text, ['name', 'devicename']);
  return { deviceName: required(flag, params, 'devicename'), name: required(flag, params, 'name') };
}

function ioThreadsPolicy(policy: string): string {
  if (!['shared', 'auto', 'supplementalPool'].includes(policy))
    throw new CommandFailure('failed to parse "--iothreadspolicy" flag: policy must be one of shared, auto, supplementalPool');
  return policy;
}
