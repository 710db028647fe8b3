import {
  type VirtualMachine,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
} from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import type { Command } from 'commander';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { failing } from './failing.ts';
import { CommandFailure, print, type VirtctlIo } from './io.ts';
import { collect, pairsOf } from './pflag.ts';

interface DryRunFlags {
  readonly dryRun?: boolean;
}

interface StopFlags extends DryRunFlags {
  readonly force?: boolean;
  readonly gracePeriod?: string;
}

const dryRunOption = (command: Command): Command => command.option('--dry-run', 'only show that the request would be accepted');
const stopOptions = (command: Command): Command =>
  dryRunOption(command)
    .option('--force', 'stop without waiting for the guest; needs --grace-period')
    .option('--grace-period <int>', 'seconds the guest has to shut down; needs --force', '-1');

/** start, stop, restart, pause, unpause, soft-reboot, reset, migrate and migrate-cancel. */
export function addLifecycleCommands(host: CommandHost): void {
  addCommand<DryRunFlags & { paused?: boolean }>(host, {
    usage: 'start <vm>',
    description: 'Start a virtual machine.',
    options: (command) => dryRunOption(command).option('--paused', 'start with the guest paused'),
    run: (context, [name = ''], flags) => act(context, 'start', name, flags, flags.paused === true ? { paused: true } : {}),
  });
  addCommand<StopFlags>(host, {
    usage: 'stop <vm>',
    description: 'Stop a virtual machine.',
    options: stopOptions,
    run: (context, [name = ''], flags) => act(context, 'stop', name, flags, graceBody(flags, 'gracePeriod')),
  });
  addCommand<StopFlags>(host, {
    usage: 'restart <vm>',
    description: 'Restart a virtual machine.',
    options: stopOptions,
    run: (context, [name = ''], flags) => act(context, 'restart', name, flags, graceBody(flags, 'gracePeriodSeconds')),
  });
  addCommand<DryRunFlags & { addedNodeSelector?: readonly string[] }>(host, {
    usage: 'migrate <vm>',
    description: 'Migrate a virtual machine.',
    options: (command) =>
      dryRunOption(command).option(
        '--addedNodeSelector <stringToString>',
        'labels the target node must have (repeatable)',
        collect,
      ),
    run: (context, [name = ''], flags) => {
      const selector = pairsOf(flags.addedNodeSelector ?? []);
      const body = Object.keys(selector).length > 0 ? { addedNodeSelector: selector } : {};
      return act(context, 'migrate', name, flags, body);
    },
  });
  addCommand<DryRunFlags>(host, {
    usage: 'migrate-cancel <vm>',
    description: 'Cancel migration of a virtual machine.',
    options: dryRunOption,
    run: cancelMigration,
  });
  for (const verb of ['pause', 'unpause'] as const)
    addCommand<DryRunFlags>(host, {
      usage: `${verb} <type> <name>`,
      description: `${verb === 'pause' ? 'Pause' : 'Unpause'} a virtual machine or its instance (vm|vmi NAME).`,
      options: dryRunOption,
      run: (context, [type = '', name = ''], flags) => pause(context, verb, type, name, flags),
    });
  addCommand(host, {
    usage: 'soft-reboot <vmi>',
    aliases: ['softreboot'],
    description: 'Ask the guest to reboot.',
    run: (context, [name = '']) =>
      failing(
        `Error soft rebooting VirtualMachineInstance ${name}: `,
        instanceAction(context, 'softreboot', name, {}, 'soft reboot'),
      ),
  });
  addCommand(host, {
    usage: 'reset <vmi>',
    description: 'Reset the guest like its reset button.',
    run: (context, [name = '']) =>
      failing(`Error resetting VirtualMachineInstance ${name}: `, instanceAction(context, 'reset', name, {}, 'reset')),
  });
}

const GERUND: Readonly<Record<string, string>> = {
  start: 'starting',
  stop: 'stopping',
  restart: 'restarting',
  migrate: 'migrating',
};

const dryRunBody = ({ dryRun }: DryRunFlags): object => (dryRun === true ? { dryRun: ['All'] } : {});

function announceDryRun(io: VirtctlIo, { dryRun }: DryRunFlags): void {
  if (dryRun === true) print(io, 'Dry Run execution');
}

async function act(
  { client, namespace, io }: ActionContext,
  verb: string,
  name: string,
  flags: DryRunFlags,
  body: object,
): Promise<void> {
  announceDryRun(io, flags);
  const path = subresourcePath(namespace, 'virtualmachines', name, verb);
  const request = client.raw({ method: 'PUT', path, body: { ...body, ...dryRunBody(flags) } });
  await failing(`Error ${GERUND[verb]} VirtualMachine: `, request);
  print(io, `VM ${name} was scheduled to ${verb}`);
}

/** Both flags or none; a grace period without force would silently be ignored by older servers. */
function graceBody({ force, gracePeriod = '-1' }: StopFlags, field: string): object {
  const seconds = Number(gracePeriod);
  if (!Number.isInteger(seconds)) throw new CommandFailure(`invalid argument "${gracePeriod}" for "--grace-period" flag`);
  if ((force === true) !== seconds >= 0) throw new CommandFailure('Must both use --force=true and set --grace-period.');
  return force === true ? { [field]: seconds } : {};
}

async function cancelMigration(
  { client, namespace, io }: ActionContext,
  [name = '']: readonly string[],
  flags: DryRunFlags,
): Promise<void> {
  announceDryRun(io, flags);
  const labelSelector = `kubevirt.io/vmi-name==${name}`;
  const { items } = await client.list(VirtualMachineInstanceMigrationKind, { namespace, labelSelector });
  const active = items.find(({ status }) => status?.phase !== 'Succeeded' && status?.phase !== 'Failed');
  if (active === undefined) throw new CommandFailure(`Found no migration to cancel for ${name}`);
  const key = { namespace, name: active.metadata.name ?? '' };
  await client.delete(VirtualMachineInstanceMigrationKind, key, { dryRun: flags.dryRun === true });
  print(io, `VM ${name} was scheduled to migrate-cancel`);
}

async function pause(
  context: ActionContext,
  verb: 'pause' | 'unpause',
  type: string,
  name: string,
  flags: DryRunFlags,
): Promise<void> {
  const { client, namespace, io } = context;
  announceDryRun(io, flags);
  const kind = kindOf(type);
  if (kind === undefined) throw new CommandFailure(`unsupported resource type '${type}'`);
  const vm =
    kind === 'vm'
      ? await failing(`Error getting VirtualMachine ${name}: `, client.get(VirtualMachineKind, { namespace, name }))
      : undefined;
  const doing = `Error ${verb === 'pause' ? 'pausing' : 'unpausing'} VirtualMachineInstance ${name}`;
  try {
    await instanceAction(context, verb, name, dryRunBody(flags), verb);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    if (vm !== undefined && error.code === 404)
      throw new CommandFailure(isHalted(vm) ? `${doing}. VirtualMachine ${name} is not set to run` : `${doing} was not found`);
    throw new CommandFailure(`${doing}: ${error.message}`);
  }
}

const isHalted = ({ spec: { runStrategy, running } }: VirtualMachine): boolean => runStrategy === 'Halted' || running === false;

async function instanceAction(
  { client, namespace, io }: ActionContext,
  verb: string,
  name: string,
  body: object,
  spoken: string,
): Promise<void> {
  await client.raw({ method: 'PUT', path: subresourcePath(namespace, 'virtualmachineinstances', name, verb), body });
  print(io, `VMI ${name} was scheduled to ${spoken}`);
}

/** Every spelling that KubeVirt accepts for the two kinds. */
export function kindOf(type: string): 'vm' | 'vmi' | undefined {
  const singular = type.toLowerCase();
  const names = { vm: VirtualMachineKind, vmi: VirtualMachineInstanceKind } as const;
  for (const short of ['vm', 'vmi'] as const) {
    const { plural, kind } = names[short];
    if ([short, `${short}s`, plural, kind.toLowerCase()].includes(singular)) return short;
  }
  return undefined;
}
