import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { extract, type Extract } from 'tar-stream';
import { type ChartFile, ChartError } from './chart.ts';

const MAX_BYTES = 100 * 1024 * 1024;
const MAX_FILES = 20_000;

const unzip = promisify(gunzip);

type Entry = Extract extends AsyncIterable<infer Member> ? Member : never;

/**
 * Files of a packaged chart (`.tgz`), without the directory that all of them are in. Throws ChartError for what is no
 * archive, leaves its directory, or holds too much; links are refused, since nobody knows where they lead.
 */
export async function readArchive(data: Uint8Array): Promise<ChartFile[]> {
  const tar = await unzip(data, { maxOutputLength: MAX_BYTES }).catch(() => {
    throw new ChartError('the packaged chart is no gzip archive of at most 100 MiB');
  });
  const files = new Map<string, ChartFile>();
  const entries = extract();
  entries.end(tar);
  try {
    for await (const entry of entries) {
      const file = await fileOf(entry);
      // a file that is there twice is the later one
      if (file) files.set(file.path, file);
      if (files.size > MAX_FILES) throw new ChartError(`the packaged chart holds more than ${MAX_FILES} files`);
    }
  } catch (error) {
    if (error instanceof ChartError) throw error;
    throw new ChartError(`the packaged chart is no tar archive: ${error instanceof Error ? error.message : String(error)}`);
  }
  return [...files.values()];
}

async function fileOf(entry: Entry): Promise<ChartFile | undefined> {
  const { name, type } = entry.header;
  if (type === 'symlink' || type === 'link') throw new ChartError(`the packaged chart holds a link, which is refused: ${name}`);
  if (type !== 'file' && type !== 'contiguous-file') {
    entry.resume();
    return undefined;
  }
  const path = inside(name);
  const chunks: Buffer[] = [];
  for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
  return { path, data: Buffer.concat(chunks) };
}

function inside(path: string): string {
  const parts = path.split('/').filter((part, index) => part !== '.' && (part !== '' || index === 0));
  if (path.startsWith('/') || parts.includes('..') || /[\\\0]/.test(path))
    throw new ChartError(`chart illegally references parent directory: ${path}`);
  if (parts.length < 2) throw new ChartError('chart metadata not in base directory');
  return parts.slice(1).join('/');
}
