import type { Command } from 'commander';
import { CommandFailure } from '../io.ts';

export interface UploadFlags {
  readonly imagePath?: string;
  readonly archivePath?: string;
  readonly size?: string;
  readonly storageClass?: string;
  readonly accessMode?: string;
  readonly volumeMode?: string;
  readonly uploadproxyUrl?: string;
  readonly insecure?: boolean;
  readonly create: boolean;
  readonly forceBind?: boolean;
  readonly waitSecs: string;
  readonly retry: string;
  readonly datasource?: boolean;
  readonly defaultInstancetype?: string;
  readonly defaultInstancetypeKind?: string;
  readonly defaultPreference?: string;
  readonly defaultPreferenceKind?: string;
}

/** Flags as older scripts write them. */
interface OldFlags extends UploadFlags {
  readonly pvcName?: string;
  readonly pvcSize?: string;
  readonly blockVolume?: boolean;
}

/** What is to be done, checked. */
export interface UploadRequest {
  readonly kind: 'dv' | 'pvc';
  readonly name: string;
  readonly file: string;
  readonly contentType: 'kubevirt' | 'archive';
  readonly waitMs: number;
  readonly retries: number;
  readonly volumeMode: 'Block' | 'Filesystem' | undefined;
  readonly flags: UploadFlags;
}

export const uploadOptions = (command: Command): Command =>
  command
    .option('--image-path <string>', 'the disk image')
    .option('--archive-path <string>', 'a tar archive that fills a filesystem volume')
    .option('--size <string>', 'size of the volume to create')
    .option('--storage-class <string>', 'storage class of the volume to create')
    .option('--access-mode <string>', 'access mode of the volume to create')
    .option('--volume-mode <string>', 'block or filesystem')
    .option('--uploadproxy-url <string>', 'address of the upload proxy; without it: that of the CDI configuration')
    .option('--insecure', 'do not check the certificate of the upload proxy')
    .option('--no-create', 'use a volume that exists')
    .option('--force-bind', 'bind the volume now, without a virtual machine that uses it')
    .option('--wait-secs <uint>', 'how long the volume may take to get ready', '300')
    .option('--retry <uint>', 'how often the upload is tried again', '5')
    .option('--datasource', 'make a DataSource of the same name for the volume')
    .option('--default-instancetype <string>', 'instance type for VMs that boot from the volume')
    .option('--default-instancetype-kind <string>', 'its kind')
    .option('--default-preference <string>', 'preference for VMs that boot from the volume')
    .option('--default-preference-kind <string>', 'its kind')
    .option('--pvc-name <string>', 'older form of the arguments "pvc NAME"')
    .option('--pvc-size <string>', 'older form of --size')
    .option('--block-volume', 'older form of --volume-mode=block');

/** The request of one command line. Throws CommandFailure for flags that contradict each other. */
export function parseUpload([kind, name]: readonly string[], given: OldFlags): UploadRequest {
  const flags: UploadFlags = { ...given, ...(given.pvcSize !== undefined && { size: given.size ?? given.pvcSize }) };
  const what = given.pvcName === undefined ? { kind, name } : { kind: 'pvc', name: given.pvcName };
  if (what.kind !== 'dv' && what.kind !== 'pvc')
    throw new CommandFailure(`invalid resource type ${what.kind ?? ''}: use dv or pvc`);
  if (what.name === undefined) throw new CommandFailure(`expecting the name of the ${what.kind}`);
  const volumeMode = volumeModeOf(given.blockVolume === true ? 'block' : flags.volumeMode);
  checkCombinations(flags, volumeMode);
  return {
    kind: what.kind,
    name: what.name,
    file: flags.imagePath ?? flags.archivePath ?? '',
    contentType: flags.archivePath === undefined ? 'kubevirt' : 'archive',
    waitMs: count('wait-secs', flags.waitSecs) * 1_000,
    retries: count('retry', flags.retry),
    volumeMode,
    flags,
  };
}

function checkCombinations(flags: UploadFlags, volumeMode: UploadRequest['volumeMode']): void {
  if ((flags.imagePath === undefined) === (flags.archivePath === undefined))
    throw new CommandFailure('either image-path or archive-path must be provided');
  if (flags.archivePath !== undefined && volumeMode === 'Block')
    throw new CommandFailure('in archive upload the volume mode should always be filesystem');
  if (flags.accessMode === 'ReadOnlyMany')
    throw new CommandFailure('cannot upload to a readonly volume, use either ReadWriteOnce or ReadWriteMany if supported');
  if (flags.defaultInstancetypeKind !== undefined && flags.defaultInstancetype === undefined)
    throw new CommandFailure('--default-instancetype must be provided with --default-instancetype-kind');
  if (flags.defaultPreferenceKind !== undefined && flags.defaultPreference === undefined)
    throw new CommandFailure('--default-preference must be provided with --default-preference-kind');
  if ((flags.defaultInstancetype ?? flags.defaultPreference) !== undefined && !flags.create)
    throw new CommandFailure('--default-instancetype and --default-preference cannot be used with --no-create');
}

function volumeModeOf(text: string | undefined): 'Block' | 'Filesystem' | undefined {
  if (text === undefined) return undefined;
  if (/^block$/i.test(text)) return 'Block';
  if (/^filesystem$/i.test(text)) return 'Filesystem';
  throw new CommandFailure(`Invalid volume mode '${text}': use block or filesystem`);
}

function count(flag: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new CommandFailure(`invalid argument "${text}" for "--${flag}" flag`);
  return Number(text);
}
