import type { ClaimDisk } from '../volumes/index.ts';

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The small system that guestfish runs on a disk. It cannot be built in a sandbox, which sees neither kernel nor packages. */
export const APPLIANCE = '/usr/local/lib/guestfs/appliance';

/** Where the sandbox has its disks; /disk leads there. */
const DIRECTORY = '/tmp/disk';

/**
 * A shell that begins by saying what is there and what is not (pure). It links the disks itself, as its own user: nothing
 * privileged writes where that user can.
 */
export function shellCommand(disks: readonly Pick<ClaimDisk, 'path'>[], hasGuestfish: boolean): string[] {
  const links = disks.map(({ path }, index) => `ln -sf ${quoted(path)} ${index === 0 ? 'disk.img' : `disk-${index}.img`}`);
  const hint = hasGuestfish
    ? '"guestfish -a disk.img -i" opens its file systems.'
    : `guestfish is not ready: to open its file systems, install the Debian package libguestfs-tools on the node and run "libguestfs-make-fixed-appliance ${APPLIANCE}" there.`;
  const script = [
    `export LIBGUESTFS_BACKEND=direct LIBGUESTFS_PATH=${APPLIANCE} LIBGUESTFS_TMPDIR=/tmp HOME=/tmp PS1="guestfs:\\$PWD\\$ "`,
    `mkdir -p ${DIRECTORY}`,
    'cd /disk',
    ...links,
    `echo ${quoted(`The disk is /disk/disk.img; "qemu-img info disk.img" says what it is. ${hint}`)}`,
    'exec sh -i',
  ];
  return ['sh', '-c', script.join('; ')];
}
