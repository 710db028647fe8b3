import { KubeVirtKind, VirtualMachineInstanceKind } from '@slipway/api';
import { isObject } from '@slipway/apimachinery';
import type { JsonPatchOperation } from '@slipway/client';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { failing } from './failing.ts';
import { CommandFailure, print } from './io.ts';
import { kindOf } from './lifecycle.ts';
import { collect, pairsOf } from './pflag.ts';

/** adm log-verbosity, permitted-devices, evacuate-cancel and objectgraph. */
export function addAdministrationCommands(host: CommandHost): void {
  const adm = { ...host, program: host.program.command('adm').description('Administer the platform.') };
  addCommand<VerbosityFlags>(adm, {
    usage: 'log-verbosity',
    description: 'Show or set how much the components log (0-9).',
    options: (command) => {
      for (const { component } of COMPONENTS) command.option(`--${component} [uint]`, `show ${component}, or set it to a level`);
      return command.option('--all [uint]', 'show or set every component').option('--reset', 'back to the defaults');
    },
    run: (context, _, flags) => showOrSetVerbosity(context, flags),
  });
  addCommand(host, {
    usage: 'permitted-devices',
    description: 'List the GPUs and host devices that VMs may use.',
    run: permittedDevices,
  });
  addCommand<{ dryRun?: boolean }>(host, {
    usage: 'evacuate-cancel <type> <name>',
    description: 'Cancel the evacuation of a VM, an instance, or everything on a node (vm|vmi|node NAME).',
    options: (command) => command.option('--dry-run', 'only show that the request would be accepted'),
    run: cancelEvacuation,
  });
  addCommand<GraphFlags>(host, {
    usage: 'objectgraph <name>',
    description: 'Show the objects that a virtual machine depends on.',
    options: graphOptions,
    run: objectGraph,
  });
}

/** Each component with its attribute among the flags and its field of `logVerbosity`. */
const COMPONENTS = [
  { component: 'virt-api', flag: 'virtApi', field: 'virtAPI' },
  { component: 'virt-controller', flag: 'virtController', field: 'virtController' },
  { component: 'virt-handler', flag: 'virtHandler', field: 'virtHandler' },
  { component: 'virt-launcher', flag: 'virtLauncher', field: 'virtLauncher' },
  { component: 'virt-operator', flag: 'virtOperator', field: 'virtOperator' },
] as const;
type Level = string | true | undefined;
type VerbosityFlags = Readonly<Partial<Record<(typeof COMPONENTS)[number]['flag'] | 'all', Level>>> & {
  readonly reset?: boolean;
};
/** KubeVirt's own level where nothing is set. */
const DEFAULT_VERBOSITY = 2;

interface AskedLevel {
  readonly component: string;
  readonly field: (typeof COMPONENTS)[number]['field'];
  /** True: show it. */
  readonly level: string | true;
}

/** What the flags ask for: either levels to show or levels to set. Throws CommandFailure for a mixture and for nothing. */
function askedLevels(flags: VerbosityFlags): AskedLevel[] {
  const asked = COMPONENTS.flatMap(({ component, flag, field }) => {
    const level = flags[flag] ?? flags.all;
    return level === undefined ? [] : [{ component, field, level }];
  });
  if (asked.length === 0 && flags.reset !== true) throw new CommandFailure('no flag specified - expecting at least one flag');
  const shown = asked.filter(({ level }) => level === true);
  if (shown.length > 0 && (shown.length < asked.length || flags.reset === true))
    throw new CommandFailure('only show or set is allowed');
  return asked;
}

const DEVELOPER = '/spec/configuration/developerConfiguration';

async function showOrSetVerbosity(context: ActionContext, flags: VerbosityFlags): Promise<void> {
  const { metadata } = await theKubeVirt(context);
  const key = { namespace: metadata.namespace ?? '', name: metadata.name ?? '' };
  const asked = askedLevels(flags);
  const kubevirt = await context.client.get(KubeVirtKind, key);
  const developer = kubevirt.spec?.configuration?.developerConfiguration;
  const current = developer?.logVerbosity ?? {};
  if (asked.some(({ level }) => level === true)) {
    for (const { component, field } of asked) print(context.io, `${component} = ${current[field] ?? DEFAULT_VERBOSITY}`);
    return;
  }
  const levels = asked.map(({ component, field, level }): [string, number] => [field, parseLevel(component, level)]);
  const logVerbosity = { ...(flags.reset === true ? {} : current), ...Object.fromEntries(levels) };
  const patch: JsonPatchOperation[] = [
    ...(developer === undefined ? [{ op: 'add', path: DEVELOPER, value: {} } as const] : []),
    { op: 'add', path: `${DEVELOPER}/logVerbosity`, value: logVerbosity },
  ];
  await context.client.patch(KubeVirtKind, key, patch, { type: 'json' });
  print(context.io, 'successfully set/reset the log verbosity');
}

function parseLevel(component: string, level: Level): number {
  if (typeof level !== 'string' || !/^\d$/.test(level)) throw new CommandFailure(`${component}: log verbosity must be 0-9`);
  return Number(level);
}

async function theKubeVirt({ client }: ActionContext) {
  const { items } = await client.list(KubeVirtKind, {});
  const [kubevirt] = items;
  if (kubevirt === undefined) throw new CommandFailure('could not detect a KubeVirt installation');
  return kubevirt;
}

async function permittedDevices(context: ActionContext): Promise<void> {
  const { permittedHostDevices: permitted } = (await theKubeVirt(context)).spec?.configuration ?? {};
  const names = (devices: readonly { readonly resourceName: string }[] = []): string =>
    [...new Set(devices.map(({ resourceName }) => resourceName))].join(', ');
  const host = [...(permitted?.pciHostDevices ?? []), ...(permitted?.usb ?? [])];
  // KubeVirt-compat: mediated devices are the GPUs, and the spaces at the ends of lines
  print(context.io, `Permitted Devices: \nHost Devices: \n${names(host)} \nGPU Devices: \n${names(permitted?.mediatedDevices)}`);
}

async function cancelEvacuation(
  context: ActionContext,
  [type = '', name = '']: readonly string[],
  { dryRun }: { readonly dryRun?: boolean },
): Promise<void> {
  const { client, namespace, io } = context;
  const body = dryRun === true ? { dryRun: ['All'] } : {};
  const cancel = async (where: string, plural: 'virtualmachines' | 'virtualmachineinstances', of: string): Promise<void> => {
    const what = `${plural === 'virtualmachines' ? 'VM' : 'VMI'} ${where}/${of}`;
    const request = client.raw({ method: 'PUT', path: subresourcePath(where, plural, of, 'evacuate/cancel'), body });
    await failing(`error canceling evacuation for ${what}: `, request);
    print(io, `${what} was canceled evacuation`);
  };
  if (dryRun === true) print(io, 'Dry Run execution');
  if (/^(node|nodes|no)$/i.test(type)) {
    const { items } = await client.list(VirtualMachineInstanceKind, {});
    const leaving = items.filter(({ status }) => status?.evacuationNodeName === name);
    for (const { metadata } of leaving) await cancel(metadata.namespace ?? '', 'virtualmachineinstances', metadata.name ?? '');
    if (leaving.length === 0) print(io, `No evacuation is pending on node ${name}`);
    return;
  }
  const kind = kindOf(type);
  if (kind === undefined) throw new CommandFailure(`unsupported resource type "${type}"`);
  await cancel(namespace, kind === 'vm' ? 'virtualmachines' : 'virtualmachineinstances', name);
}

interface GraphFlags {
  readonly vmi?: boolean;
  readonly excludeOptional?: boolean;
  readonly selector?: readonly string[];
  readonly output: string;
}

const graphOptions = (command: Command): Command =>
  command
    .option('--vmi', 'the name is that of an instance')
    .option('--exclude-optional', 'leave out what the VM can start without')
    .option('--selector <stringToString>', 'labels that a node of the graph must have (repeatable)', collect)
    .option('-o, --output <string>', 'json or yaml', 'json');

async function objectGraph(
  { client, namespace, io }: ActionContext,
  [name = '']: readonly string[],
  { vmi, excludeOptional, selector, output }: GraphFlags,
): Promise<void> {
  if (output !== 'json' && output !== 'yaml')
    throw new CommandFailure('error not supported output format defined: use json or yaml');
  const path = subresourcePath(namespace, vmi === true ? 'virtualmachineinstances' : 'virtualmachines', name, 'objectgraph');
  const options = {
    includeOptionalNodes: excludeOptional !== true,
    ...(selector !== undefined && { labelSelector: { matchLabels: pairsOf(selector) } }),
  };
  const of = vmi === true ? 'VirtualMachineInstance' : 'VirtualMachine';
  const request = client.raw({ method: 'GET', path, body: options });
  const { body } = await failing(`error listing object graph of ${of} ${name}: `, request);
  if (!isObject(body)) throw new CommandFailure('The server has sent no graph');
  print(io, output === 'json' ? JSON.stringify(body, undefined, 2) : stringify(body, { lineWidth: 0 }).trimEnd());
}
