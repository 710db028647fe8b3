import { ServiceKind, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import type { KubeObject } from '@slipway/apimachinery';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';
import { kindOf } from './lifecycle.ts';

interface ExposeFlags {
  readonly name?: string;
  readonly port: string;
  readonly targetPort?: string;
  readonly portName?: string;
  readonly protocol: string;
  readonly type: string;
  readonly clusterIp?: string;
  readonly externalIp?: string;
  readonly ipFamily?: string;
  readonly ipFamilyPolicy?: string;
}

interface ServicePort {
  readonly name?: string;
  readonly protocol: string;
  readonly port: number;
  readonly targetPort?: number | string;
}

/** expose: a Service in front of a VM. */
export function addExposeCommand(host: CommandHost): void {
  addCommand<ExposeFlags>(host, {
    usage: 'expose <type> <name>',
    description: 'Make a Service for ports of a virtual machine (vm|vmi NAME).',
    options: (command) =>
      command
        .option('--name <name>', 'name of the service')
        .option('--port <port>', 'port of the service; 0: the ports of the pod-network interface', '0')
        .option('--target-port <port>', 'port of the guest, when it is another')
        .option('--port-name <name>', 'name of the port')
        .option('--protocol <protocol>', 'TCP or UDP', 'TCP')
        .option('--type <type>', 'ClusterIP, NodePort or LoadBalancer', 'ClusterIP')
        .option('--cluster-ip <address>', 'cluster address of the service')
        .option('--external-ip <address>', 'further address at which the service is reached')
        .option('--ip-family <families>', 'IPv4, IPv6 or both, the preferred first')
        .option('--ip-family-policy <policy>', 'SingleStack, PreferDualStack or RequireDualStack'),
    run: expose,
  });
}

async function expose(context: ActionContext, [type = '', name = '']: readonly string[], flags: ExposeFlags): Promise<void> {
  const { client, namespace, io } = context;
  if (flags.name === undefined) throw new CommandFailure('required flag(s) "name" not set');
  const kind = kindOf(type);
  if (kind === undefined) throw new CommandFailure(`unsupported resource type ${type}: use vm or vmi`);
  const owner: KubeObject & { readonly spec: InstancePorts } =
    kind === 'vm'
      ? await client.get(VirtualMachineKind, { namespace, name }).then((vm) => ({ ...vm, spec: vm.spec.template.spec ?? {} }))
      : await client.get(VirtualMachineInstanceKind, { namespace, name });
  const ports = portsOf(owner.spec, flags);
  const { apiVersion, metadata } = owner;
  const reference = { apiVersion, kind: owner.kind, name, uid: metadata.uid ?? '', controller: true, blockOwnerDeletion: false };
  await client.create(ServiceKind, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: flags.name, namespace, ownerReferences: [reference] },
    spec: {
      ports,
      selector: { 'vmi.kubevirt.io/id': name },
      type: flags.type,
      ...(flags.clusterIp !== undefined && { clusterIP: flags.clusterIp }),
      ...(flags.externalIp !== undefined && { externalIPs: [flags.externalIp] }),
      ...(flags.ipFamily !== undefined && { ipFamilies: families(flags.ipFamily) }),
      ...(flags.ipFamilyPolicy !== undefined && { ipFamilyPolicy: flags.ipFamilyPolicy }),
    },
  });
  print(io, `Service ${flags.name} successfully exposed for ${type} ${name}`);
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

/** The port that was asked for, or those that the interface on the pod network declares. */
function portsOf({ networks, domain }: InstancePorts, flags: ExposeFlags): ServicePort[] {
  const port = Number(flags.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new CommandFailure(`invalid argument "${flags.port}" for "--port" flag`);
  if (port > 0) return [namedPort(port, flags)];
  const podNetwork = networks?.find(({ pod }) => pod !== undefined)?.name;
  const declared = domain?.devices?.interfaces?.find(({ name }) => name === podNetwork)?.ports ?? [];
  if (declared.length === 0) throw new CommandFailure("couldn't find port via --port flag or introspection");
  return declared.map((entry, index) => ({
    name: entry.name ?? `port-${index + 1}`,
    protocol: entry.protocol ?? 'TCP',
    port: entry.port,
  }));
}

function namedPort(port: number, { portName, targetPort, protocol }: ExposeFlags): ServicePort {
  const target = targetPort !== undefined && /^\d+$/.test(targetPort) ? Number(targetPort) : targetPort;
  return {
    ...(portName !== undefined && { name: portName }),
    protocol,
    port,
    ...(target !== undefined && { targetPort: target }),
  };
}

function families(text: string): string[] {
  return text.split(',').map((family) => {
    const known = ['IPv4', 'IPv6'].find((name) => name.toLowerCase() === family.toLowerCase());
    if (known === undefined) throw new CommandFailure(`unknown IPFamily/s: ${text}`);
    return known;
  });
}
