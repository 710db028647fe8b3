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
const MAX_NAME = 63;
/** A change that another one has overtaken is asked for again this often. */
const ATTEMPTS = 15;
const RETRY_MS = 20;

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
      if (flags.dryRun === true) print(context.io, 'Dry Run execution');
      await put(context, name, 'removevolume', { name: flags.volumeName }, flags);
      print(context.io, `Successfully submitted remove volume request to VM ${name} for volume ${flags.volumeName}`);
    },
  });
}

async function addVolume(context: ActionContext, [name = '']: readonly string[], flags: AddFlags): Promise<void> {
  const { volumeName, diskName, serial, cache } = flags;
  if (flags.dryRun === true) print(context.io, 'Dry Run execution');
  const volumeSource = await sourceOf(context, volumeName);
  checkName(flags);
  const disk = {
    name: '',
    ...deviceOf(flags),
    serial: serial ?? volumeName,
    ...(cache !== undefined && { cache }),
  };
  await put(context, name, 'addvolume', { name: diskName ?? volumeName, disk, volumeSource }, flags);
  print(context.io, `Successfully submitted add volume request to VM ${name} for volume ${volumeName}`);
}

function checkName({ diskName, volumeName }: AddFlags): void {
  if ((diskName ?? volumeName).length <= MAX_NAME) return;
  throw new CommandFailure(
    diskName === undefined
      ? `Invalid volume name ${volumeName}, must not exceed ${MAX_NAME} characters. Use in conjunction with --disk-name to specify a shorter name`
      : `Invalid disk name ${diskName}, must not exceed ${MAX_NAME} characters`,
  );
}

/** Throws CommandFailure for a combination that cannot be plugged in. */
function deviceOf({ diskType, bus, cache }: AddFlags): object {
  const isLun = diskType === 'lun';
  if (!isLun && diskType !== 'disk')
    throw new CommandFailure(`Invalid disk type '${diskType}'. Only LUN and Disk are supported.`);
  if (isLun && bus !== 'scsi') throw new CommandFailure(`Invalid bus type '${bus}' for LUN disk. Only 'scsi' bus is supported.`);
  if (bus !== 'scsi' && bus !== 'virtio')
    throw new CommandFailure(`Invalid bus type '${bus}' for disk. Only 'scsi' and 'virtio' are supported.`);
  if (cache !== undefined && !CACHES.includes(cache))
    throw new CommandFailure(`error adding volume, invalid cache value ${cache}`);
  return isLun ? { lun: { bus } } : { disk: { bus } };
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
  const request = { ...body, ...(dryRun === true && { dryRun: ['All'] }) };
  const ask = (resource: 'virtualmachines' | 'virtualmachineinstances') =>
    client.raw({ method: 'PUT', path: subresourcePath(namespace, resource, name, verb), body: request });
  const doing = verb === 'addvolume' ? 'adding' : 'removing';
  for (let attempt = 1; ; attempt++) {
    try {
      await ask('virtualmachines').catch((error: unknown) => {
        if (isNotFound(error)) return ask('virtualmachineinstances');
        throw error;
      });
      return;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (!isOvertaken(error)) throw new CommandFailure(`error ${doing} volume, ${error.message}`);
      if (attempt === ATTEMPTS) throw new CommandFailure(`error ${doing} volume after ${ATTEMPTS} retries`);
      await io.sleep(RETRY_MS * attempt);
    }
  }
}

/** Another change of the same list of volumes came first. */
const isOvertaken = ({ code, message }: StatusError): boolean =>
  (code === 409 || code === 422) && /the server rejected our request due to an error in our request/.test(message);
