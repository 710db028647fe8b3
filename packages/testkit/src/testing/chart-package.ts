import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';

/** One member of an archive: a path with its text, or a header of any kind. */
export type TarMember = readonly [path: string | Parameters<Pack['entry']>[0], text?: string];

/** A gzipped tar archive of these members. */
export async function tgz(members: readonly TarMember[]): Promise<Buffer> {
  const tar = pack();
  for (const [header, text = ''] of members) tar.entry(typeof header === 'string' ? { name: header } : header, text);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  return gzipSync(Buffer.concat(chunks));
}

/** A chart as `helm package` makes it; `Chart.yaml` is made up. */
export const chartPackage = (
  name: string,
  version: string,
  files: Readonly<Record<string, string>>,
  more = '',
): Promise<Buffer> => {
  const chart = `apiVersion: v2\nname: ${name}\nversion: ${version}\n${more}`;
  return tgz(Object.entries({ 'Chart.yaml': chart, ...files }).map(([path, text]) => [`${name}/${path}`, text]));
};

/** SHA-256 in hexadecimal. */
export const sha256Of = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
