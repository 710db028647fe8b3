import { gunzipSync } from 'node:zlib';
import { type ChartFile, ChartError } from './chart.ts';

const MAX_BYTES = 100 * 1024 * 1024;
const BLOCK = 512;

/** Files of a packaged chart (`.tgz`), without the directory that all of them are in. */
export function readArchive(data: Uint8Array): ChartFile[] {
  let tar: Buffer;
  try {
    tar = gunzipSync(data, { maxOutputLength: MAX_BYTES });
  } catch {
    throw new ChartError('the packaged chart is no gzip archive of at most 100 MiB');
  }
  const files: ChartFile[] = [];
  let longName: string | undefined;
  for (let at = 0; at + BLOCK <= tar.length; ) {
    const header = tar.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const size = Number.parseInt(text(header, 124, 12).trim() || '0', 8);
    const body = tar.subarray(at + BLOCK, at + BLOCK + size);
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === 'L') longName = text(body, 0, body.length);
    else if (type === 'x') longName = /(?:^|\n)\d+ path=([^\n]+)/.exec(body.toString('utf8'))?.[1] ?? longName;
    else {
      const prefix = text(header, 345, 155);
      const path = longName ?? (prefix === '' ? '' : `${prefix}/`) + text(header, 0, 100);
      longName = undefined;
      if (type === '0' || type === '\0') files.push({ path: inside(path), data: body });
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}

function text(bytes: Uint8Array, from: number, length: number): string {
  const field = Buffer.from(bytes.subarray(from, from + length));
  const end = field.indexOf(0);
  return field.subarray(0, end === -1 ? length : end).toString('utf8');
}

function inside(path: string): string {
  const parts = path.replace(/^\.\//, '').split('/');
  if (path.startsWith('/') || parts.includes('..') || path.includes('\\'))
    throw new ChartError(`chart illegally references parent directory: ${path}`);
  if (parts.length < 2) throw new ChartError('chart metadata not in base directory');
  return parts.slice(1).join('/');
}
