import { DataVolumeKind, PersistentVolumeClaimKind } from '@slipway/api';
import { isNotFound, StatusError } from '@slipway/apimachinery';
import type { Command } from 'commander';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';

interface VolumeFlags {
  readonly volumeName: string;
  readonly dryRun?: boolean;
  /** Every change of a VM lasts; accepted because older scripts say so. */
  readonly persist?: boolean;
}

interface AddFlags extends VolumeFlags {
  readonly diskName?: string;
  readonly serial?: string;
  readonly cache?: string;
  readonly bus: string;
  readonly diskType: string;
}

const CACHES: readonly string[] = ['none', 'writethrough', 'writeback'];
const BUSES: readonly string[] = ['scsi', 'virtio'];
const DISK_TYPES: readonly string[] = ['disk', 'lun'];

const sharedOptions = (command: Command): Command =>
  command
    .requiredOption('--volume-name <string>', 'name of the volume: that of its DataVolume or PersistentVolumeClaim')
    .option('--persist', 'deprecated: changes of a VM always last')
    .option('--dry-run', 'only show that the request would be accepted');

/** addvolume and removevolume. */
export function addVolumeCommands(host: CommandHost): void {
  addCommand<AddFlags>(host, {
    usage: 'addvolume <vm>',
    description: 'Add a volume to a virtual machine, also while it runs.',
    options: (command) =>
      sharedOptions(command)
        .option('--disk-name <string>', 'name of the disk in the virtual machine (default: the volume name)')
        .option('--serial <string>', 'serial number of the disk (default: the volume name)')
        .option('--cache <string>', 'none, writethrough or writeback')
        .option('--bus <string>', 'scsi or virtio', 'scsi')
        .option('--disk-type <string>', 'disk or lun', 'disk'),
    run: addVolume,
  });
  addCommand<VolumeFlags>(host, {
    usage: 'removevolume <vm>',
    description: 'Remove a volume from a virtual machine, also while it runs.',
    options: sharedOptions,
    run: async (context, [name = ''], flags) => {
      await put(context, name, 'removevolume', { name: flags.volumeName }, flags);
      print(context.io, `Successfully submitted remove volume request to VM ${name} for volume ${flags.volumeName}`);
    },
  });
}

function checkChoice(flag: string, value: string, choices: readonly string[]): void {
  if (choices.includes(value)) return;
  throw new CommandFailure(`error adding volume, invalid ${flag} value ${value}: must be one of ${choices.join(', ')}`);
}

async function addVolume(context: ActionContext, [name = '']: readonly string[], flags: AddFlags): Promise<void> {
  const { volumeName, diskName, serial, cache, bus, diskType } = flags;
  checkChoice('--disk-type', diskType, DISK_TYPES);
  checkChoice('--bus', bus, BUSES);
  if (cache !== undefined) checkChoice('--cache', cache, CACHES);
  const body = {
    name: diskName ?? volumeName,
    disk: {
      name: '',
      ...(diskType === 'lun' ? { lun: { bus } } : { disk: { bus } }),
      serial: serial ?? volumeName,
      ...(cache !== undefined && { cache }),
    },
    volumeSource: await sourceOf(context, volumeName),
  };
  await put(context, name, 'addvolume', body, flags);
  print(context.io, `Successfully submitted add volume request to VM ${name} for volume ${volumeName}`);
}

/** A DataVolume of that name goes before a claim. */
async function sourceOf({ client, namespace }: ActionContext, name: string): Promise<object> {
  const key = { namespace, name };
  const exists = async (kind: typeof DataVolumeKind | typeof PersistentVolumeClaimKind): Promise<boolean> => {
    try {
      await (kind === DataVolumeKind ? client.get(DataVolumeKind, key) : client.get(PersistentVolumeClaimKind, key));
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  };
  if (await exists(DataVolumeKind)) return { dataVolume: { name, hotpluggable: true } };
  if (await exists(PersistentVolumeClaimKind)) return { persistentVolumeClaim: { claimName: name, hotpluggable: true } };
  throw new CommandFailure(`error adding volume, Volume ${name} is not a DataVolume or PersistentVolumeClaim`);
}

/** Asks the VM; an instance without VM is asked itself. */
async function put(
  { client, namespace, io }: ActionContext,
  name: string,
  verb: 'addvolume' | 'removevolume',
  body: object,
  { dryRun }: VolumeFlags,
): Promise<void> {
  if (dryRun === true) print(io, 'Dry Run execution');
  const request = { ...body, ...(dryRun === true && { dryRun: ['All'] }) };
  const ask = (resource: 'virtualmachines' | 'virtualmachineinstances') =>
    client.raw({ method: 'PUT', path: subresourcePath(namespace, resource, name, verb), body: request });
  try {
    await ask('virtualmachines').catch((error: unknown) => {
      if (isNotFound(error)) return ask('virtualmachineinstances');
      throw error;
    });
  } catch (error) {
    const doing = verb === 'addvolume' ? 'adding' : 'removing';
    if (error instanceof StatusError) throw new CommandFailure(`error ${doing} volume, ${error.message}`);
    throw error;
  }
}
