import type { GrowingDisks, LiveDisks } from '../volumes/index.ts';
import type { Launch } from './launch.ts';

interface GuestDisk {
  readonly target: string;
  readonly file: string;
}

/** The file-backed disks of a running domain, from libvirt's own description of it. Pure. */
export function disksOf(xml: string): readonly GuestDisk[] {
  return [...xml.matchAll(/<disk\b[^>]*>([\s\S]*?)<\/disk>/g)].flatMap(([, disk = '']) => {
    // layers below come after the disk's own source
    const own = disk.replace(/<backingStore\b[\s\S]*/, '') + disk.replace(/[\s\S]*<\/backingStore>/, '');
    const file = /<source\b[^>]*\bfile=(['"])(.*?)\1/.exec(own)?.[2];
    const target = /<target\b[^>]*\bdev=(['"])(.*?)\1/.exec(disk)?.[2];
    return file === undefined || target === undefined ? [] : [{ target, file: unescapeXml(file) }];
  });
}

/** The document that makes one disk go on in another file while the others stay as they are. Pure. */
export function pivotDocument(disks: readonly GuestDisk[], from: string, to: string): string {
  const parts = disks.map(({ target, file }) =>
    file === from
      ? `<disk name="${escapeXml(target)}" snapshot="external" type="file"><driver type="qcow2"/><source file="${escapeXml(to)}"/></disk>`
      : `<disk name="${escapeXml(target)}" snapshot="no"/>`,
  );
  return `<domainsnapshot><disks>${parts.join('')}</disks></domainsnapshot>`;
}

export interface LiveDisksDeps {
  /** The launch of a pod on this node. */
  readonly find: (podUid: string) => Launch | undefined;
  readonly isPodGone: (podUid: string) => boolean;
}

/** Disks of this node's running guests. */
export function guestDisks({ find, isPodGone }: LiveDisksDeps): LiveDisks & GrowingDisks {
  const domainOf = async (podUid: string) => {
    const session = find(podUid)?.session;
    if (session === undefined) return undefined;
    const [libvirt, domain] = [await session.libvirt(), await session.domain()];
    return { libvirt, domain, disks: disksOf(await libvirt.xml(domain)) };
  };
  return {
    isGone: (podUid) => isPodGone(podUid) && find(podUid) === undefined,
    async writtenFile(podUid, paths) {
      const guest = await domainOf(podUid);
      return guest?.disks.find(({ file }) => paths.includes(file))?.file;
    },
    async pivot(podUid, from, to) {
      const guest = await domainOf(podUid);
      if (guest === undefined) throw new Error(`Pod ${podUid} runs no guest any more`);
      await guest.libvirt.pivotDisks(guest.domain, pivotDocument(guest.disks, from, to));
    },
    async resize(podUid, path, sizeBytes) {
      const guest = await domainOf(podUid);
      const disk = guest?.disks.find(({ file }) => file === path);
      if (guest === undefined || disk === undefined) return false;
      await guest.libvirt.resizeDisk(guest.domain, disk.target, sizeBytes);
      return true;
    },
  };
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (char) => ESCAPES[char] ?? char);
const unescapeXml = (text: string): string =>
  text.replace(
    /&(amp|lt|gt|quot|apos);/g,
    (entity) => Object.entries(ESCAPES).find(([, code]) => code === entity)?.[0] ?? entity,
  );
