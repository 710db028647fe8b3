import { ServiceKind, VirtualMachineInstanceKind, VirtualMachineInstanceReplicaSetKind, VirtualMachineKind } from '@slipway/api';
import { type KubeObject, labelValue } from '@slipway/apimachinery';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { failing } from './failing.ts';
import { CommandFailure, print } from './io.ts';
import { kindOf } from './lifecycle.ts';

interface ExposeFlags {
  readonly name: string;
  readonly port: string;
  readonly targetPort?: string;
  readonly portName?: string;
  readonly protocol: string;
  readonly type: string;
  readonly clusterIp?: string;
  readonly externalIp?: string;
  readonly loadBalancerIp?: string;
  readonly ipFamily?: string;
  readonly ipFamilyPolicy?: string;
}

interface ServicePort {
  readonly name?: string;
  readonly protocol: string;
  readonly port: number;
  readonly targetPort?: number | string;
}

const EXAMPLES = `  # Reach SSH of the instance 'web' at a port of every node:
  PROGRAM expose vmi web --port=22 --name=web-ssh --type=NodePort

  # A service for every port that the pod-network interface of a replica set declares:
  PROGRAM expose vmirs workers --name=workers

  # Port 80 of the service is port 8080 of the guest:
  PROGRAM expose vm web --port=80 --target-port=8080 --name=web`;

/** expose: a Service in front of a VM. */
export function addExposeCommand(host: CommandHost): void {
  addCommand<ExposeFlags>(host, {
    usage: 'expose <type> <name>',
    shown: '(TYPE NAME)',
    description: 'Expose a virtual machine, an instance or a replica set of instances as a new service.',
    examples: EXAMPLES,
    options: (command) =>
      command
        .requiredOption('--name <string>', 'name of the service')
        .option('--port <int32>', 'port of the service; 0: the ports that the pod-network interface declares', '0')
        .option('--target-port <string>', 'name or number of the port of the guest, where it is another')
        .option('--port-name <string>', 'name of the port')
        .option('--protocol <string>', 'TCP or UDP', 'TCP')
        .option('--type <string>', 'ClusterIP, NodePort or LoadBalancer', 'ClusterIP')
        .option('--cluster-ip <string>', "cluster address of the service; 'None' makes it headless")
        .option('--external-ip <string>', 'further address at which the service is reached')
        .option('--load-balancer-ip <string>', 'older form: the address that a load balancer shall have')
        .option('--ip-family <string>', "'IPv4', 'IPv6', 'IPv4,IPv6' or 'IPv6,IPv4'")
        .option('--ip-family-policy <string>', "'SingleStack', 'PreferDualStack' or 'RequireDualStack'"),
    run: expose,
  });
}

async function expose(context: ActionContext, [type = '', name = '']: readonly string[], flags: ExposeFlags): Promise<void> {
  const { client, namespace, io } = context;
  const kind = type.toLowerCase();
  const spec = {
    protocol: oneOf('protocol', ['TCP', 'UDP'], flags.protocol),
    type: serviceType(flags.type),
    ipFamilies: families(flags.ipFamily),
    ipFamilyPolicy: familyPolicy(flags),
  };
  const { owner, selector, ports: declared } = await exposed(context, kind, name);
  const ports = Number(flags.port) > 0 ? [namedPort(spec.protocol, flags)] : declared;
  if (ports.length === 0) throw new CommandFailure("couldn't find port via --port flag or introspection");
  const { apiVersion, metadata } = owner;
  const reference = { apiVersion, kind: owner.kind, name, uid: metadata.uid ?? '', controller: true, blockOwnerDeletion: false };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: flags.name, namespace, ownerReferences: [reference] },
    spec: {
      ports: [...ports],
      selector: { ...selector },
      type: spec.type,
      ...(flags.clusterIp !== undefined && { clusterIP: flags.clusterIp }),
      ...(flags.externalIp !== undefined && { externalIPs: [flags.externalIp] }),
      ...(flags.loadBalancerIp !== undefined && { loadBalancerIP: flags.loadBalancerIp }),
      ...(spec.ipFamilies.length > 0 && { ipFamilies: spec.ipFamilies }),
      ...(spec.ipFamilyPolicy !== undefined && { ipFamilyPolicy: spec.ipFamilyPolicy }),
    },
  };
  await failing('service creation failed: ', client.create(ServiceKind, service));
  print(io, `Service ${flags.name} successfully exposed for ${kind} ${name}`);
}

interface Exposed {
  readonly owner: KubeObject;
  readonly selector: Readonly<Record<string, string>>;
  /** Those that the object itself declares. */
  readonly ports: readonly ServicePort[];
}

/** What the service is for. Throws CommandFailure for a type or a selector that no service can have. */
async function exposed({ client, namespace }: ActionContext, type: string, name: string): Promise<Exposed> {
  const key = { namespace, name };
  const ofOne = { 'vmi.kubevirt.io/id': labelValue(name) };
  if (/^(vmirss?|virtualmachineinstancereplicasets?)$/.test(type)) {
    const set = await failing(
      'error fetching VirtualMachineInstanceReplicaSet: ',
      client.get(VirtualMachineInstanceReplicaSetKind, key),
    );
    const { matchLabels = {}, matchExpressions = [] } = set.spec.selector;
    if (Object.keys(matchLabels).length === 0)
      throw new CommandFailure('cannot expose VirtualMachineInstanceReplicaSet without any selector labels');
    if (matchExpressions.length > 0)
      throw new CommandFailure('cannot expose VirtualMachineInstanceReplicaSet with match expressions');
    return { owner: set, selector: matchLabels, ports: declaredPorts(set.spec.template.spec ?? {}) };
  }
  switch (kindOf(type)) {
    case 'vm': {
      const vm = await failing('error fetching VirtualMachine: ', client.get(VirtualMachineKind, key));
      return { owner: vm, selector: ofOne, ports: declaredPorts(vm.spec.template.spec ?? {}) };
    }
    case 'vmi': {
      const vmi = await failing('error fetching VirtualMachineInstance: ', client.get(VirtualMachineInstanceKind, key));
      return { owner: vmi, selector: ofOne, ports: declaredPorts(vmi.spec) };
    }
    default:
      throw new CommandFailure(`unsupported resource type: ${type}`);
  }
}

interface InstancePorts {
  readonly networks?: readonly { readonly name: string; readonly pod?: unknown }[];
  readonly domain?: {
    readonly devices?: {
      readonly interfaces?: readonly {
        readonly name: string;
        readonly ports?: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[];
      }[];
    };
  };
}

/** The ports of the interface on the pod network. */
function declaredPorts({ networks, domain }: InstancePorts): ServicePort[] {
  const podNetwork = networks?.find(({ pod }) => pod !== undefined)?.name;
  const declared = domain?.devices?.interfaces?.find(({ name }) => name === podNetwork)?.ports ?? [];
  return declared.map((entry, index) => ({
    name: entry.name ?? `port-${index + 1}`,
    protocol: entry.protocol ?? 'TCP',
    port: entry.port,
  }));
}

function namedPort(protocol: string, { port, portName, targetPort = '' }: ExposeFlags): ServicePort {
  return {
    ...(portName !== undefined && { name: portName }),
    protocol,
    port: Number(port),
    // empty: the same port as that of the service
    targetPort: /^\d+$/.test(targetPort) ? Number(targetPort) : targetPort,
  };
}

function oneOf(what: string, known: readonly string[], text: string): string {
  const found = known.find((one) => one.toLowerCase() === text.toLowerCase());
  if (found === undefined) throw new CommandFailure(`unknown ${what}: ${text}`);
  return found;
}

function serviceType(text: string): string {
  if (text.toLowerCase() === 'externalname') throw new CommandFailure(`type: ${text} not supported`);
  return oneOf('service type', ['ClusterIP', 'NodePort', 'LoadBalancer'], text);
}

function families(text = ''): string[] {
  if (text === '') return [];
  return oneOf('IPFamily/s', ['IPv4', 'IPv6', 'IPv4,IPv6', 'IPv6,IPv4'], text).split(',');
}

/** Two families ask for both where the cluster has them, unless the user says more. */
function familyPolicy({ ipFamily = '', ipFamilyPolicy = '' }: ExposeFlags): string | undefined {
  if (ipFamilyPolicy === '') return ipFamily.includes(',') ? 'PreferDualStack' : undefined;
  return oneOf('IPFamilyPolicy/s', ['SingleStack', 'PreferDualStack', 'RequireDualStack'], ipFamilyPolicy);
}
