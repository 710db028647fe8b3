import { ingestImageArchive, isImageArchive } from './image-archive.ts';
import { ImportError } from './import-error.ts';
import { ingest, type IngestDeps, type IngestResult } from './ingest.ts';
import { readAll } from './read-all.ts';
import { explainTarError, tarEntries } from './tar-entries.ts';

const MAX_DESCRIPTOR_BYTES = 1024 * 1024;
const TOO_LARGE = 'The OVF document of the appliance is too large';

/**
 * Imports the disk of a virtual appliance (OVA): a tar archive that begins with an OVF document, whose disks are members.
 * One with several disks needs `deps.member`, the name of one. Also the disk of a containerDisk that comes as an archive of
 * its image. Throws ImportError for any other archive.
 */
export async function ingestAppliance(tar: AsyncIterable<Buffer>, deps: IngestDeps, signal: AbortSignal): Promise<IngestResult> {
  try {
    return await ingestMember(tar, deps, signal);
  } catch (error) {
    throw explainTarError(error);
  }
}

async function ingestMember(tar: AsyncIterable<Buffer>, deps: IngestDeps, signal: AbortSignal): Promise<IngestResult> {
  let disks: readonly string[] | undefined;
  let result: IngestResult | undefined;
  const entries = tarEntries(tar);
  for await (const entry of entries) {
    const { name, type } = entry.header;
    const isFile = type === 'file' || type === 'contiguous-file';
    if (isFile && disks === undefined) {
      if (isImageArchive(name)) return await ingestImageArchive(entry, entries, deps, signal);
      if (!/\.ovf$/i.test(name)) break;
      const document = await readAll(entry as AsyncIterable<Buffer>, MAX_DESCRIPTOR_BYTES, TOO_LARGE);
      disks = disksOf(document.toString('utf8'));
      chooseDisk(disks, deps.member);
    } else if (isFile && result === undefined && name.replace(/^\.\//, '') === chooseDisk(disks ?? [], deps.member)) {
      result = await ingest(entry as AsyncIterable<Buffer>, { ...deps, isMember: true }, signal);
    } else entry.resume();
  }
  if (disks === undefined)
    throw new ImportError('InvalidImage', 'The file is a tar archive, not a disk image or an OVA. Publish the image itself');
  if (result === undefined)
    throw new ImportError(
      'InvalidImage',
      `The appliance does not hold the disk ${chooseDisk(disks, deps.member)} that its OVF names`,
    );
  return result;
}

/** Files of the disks that an OVF document describes, in its order. */
export function disksOf(ovf: string): readonly string[] {
  const files = elements(ovf, 'File').map((attributes) => ({ id: attributes.get('id'), href: attributes.get('href') ?? '' }));
  const references = elements(ovf, 'Disk').map((attributes) => attributes.get('fileRef'));
  const ofDisks = references.flatMap((reference) => files.filter(({ id }) => id === reference));
  return [...new Set((ofDisks.length > 0 ? ofDisks : files).map(({ href }) => href).filter((href) => href !== ''))];
}

/** Attributes of the elements of a name, without their namespaces. */
function elements(xml: string, name: string): ReadonlyMap<string, string>[] {
  const tags = xml.match(new RegExp(`<(?:[A-Za-z]\\w*:)?${name}\\s[^<>]{0,4096}>`, 'g')) ?? [];
  return tags.map(
    (tag) => new Map([...tag.matchAll(/\b([A-Za-z]\w*)\s*=\s*"([^"]*)"/g)].map(([, key = '', value = '']) => [key, value])),
  );
}

function chooseDisk(disks: readonly string[], wanted: string | undefined): string {
  const [first] = disks;
  if (first === undefined) throw new ImportError('InvalidImage', 'The OVF document of the appliance names no disk');
  const list = disks.join(', ');
  if (wanted === undefined && disks.length > 1)
    throw new ImportError(
      'InvalidRequest',
      `The appliance holds several disks: ${list}. Name one at the end of the URL, as in …/appliance.ova#${first}`,
    );
  if (wanted !== undefined && !disks.includes(wanted))
    throw new ImportError('InvalidRequest', `The appliance has no disk ${wanted}; it has ${list}`);
  return wanted ?? first;
}
