import { appendFile, writeFile } from 'node:fs/promises';
import type { kubevirt } from '@slipway/api';
import { stringify } from 'yaml';
import { CommandFailure, print, type VirtctlIo } from '../io.ts';
import { downloadTo } from './download.ts';
import type { Tell } from './export-object.ts';
import type { ExportFlags } from './vmexport-flags.ts';

const TOKEN_HEADER = 'x-kubevirt-export-token';

/** An export that is ready, and how it is reached. */
export interface Source {
  /** Namespace and name, for messages. */
  readonly name: string;
  readonly link: kubevirt.VirtualMachineExportLink;
  readonly token: string;
  readonly insecure: boolean;
  /** Host and port instead of those of the link. */
  readonly serviceUrl?: string;
}

const at = (url: string, serviceUrl: string | undefined): string =>
  serviceUrl === undefined ? url : url.replace(/^https:\/\/[^/]+/, `https://${serviceUrl}`);

const requestOf = (
  { link, token, insecure, serviceUrl }: Source,
  url: string,
  headers: Readonly<Record<string, string>> = {},
) => ({
  url: at(url, serviceUrl),
  headers: { [TOKEN_HEADER]: token, ...headers },
  ca: link.cert === '' ? undefined : link.cert,
  insecure,
});

export interface VolumeDownload extends Pick<ExportFlags, 'volume' | 'output' | 'format'> {
  readonly retries: number;
  readonly retryMs: number;
  readonly tell: Tell;
}

/** Downloads one volume into a file or to stdout. Throws CommandFailure where there is none to choose. */
export async function downloadVolume(io: VirtctlIo, source: Source, wanted: VolumeDownload): Promise<void> {
  const { formats = [] } = chooseVolume(source, wanted.volume);
  const isRaw = wanted.format === 'raw';
  // the compressed form is smaller to carry; a raw disk can be continued where it broke, so that is asked for by name alone
  const order = isRaw ? ['raw', 'gzip', 'tar.gz'] : ['gzip', 'tar.gz', 'raw'];
  const format = order.flatMap((name) => formats.find((offered) => offered.format === name) ?? [])[0];
  if (format === undefined) throw new CommandFailure(`unable to get a valid URL from '${source.name}' VirtualMachineExport`);
  await downloadTo(io, {
    request: requestOf(source, format.url),
    output: wanted.output ?? '-',
    gunzip: isRaw && format.format !== 'raw',
    retries: wanted.retries,
    retryMs: wanted.retryMs,
    tell: wanted.tell,
  });
}

function chooseVolume({ name: where, link }: Source, name: string | undefined) {
  const { volumes = [] } = link;
  if (volumes.length === 0) throw new CommandFailure(`unable to access the volume info from '${where}' VirtualMachineExport`);
  if (name === undefined && volumes.length > 1)
    throw new CommandFailure(
      `detected more than one downloadable volume in '${where}' VirtualMachineExport: Select the expected volume using the --volume flag`,
    );
  // KubeVirt-compat: an only volume is taken whatever it is called
  const volume = volumes.length === 1 ? volumes[0] : volumes.find((entry) => entry.name === name);
  if (volume === undefined)
    throw new CommandFailure(`there is no volume ${name}; there are: ${volumes.map((entry) => entry.name).join(', ')}`);
  return volume;
}

/** Prints the manifests or writes them into a file. */
export async function downloadManifests(io: VirtctlIo, source: Source, flags: ExportFlags): Promise<void> {
  const isJson = flags.manifestOutputFormat?.toLowerCase() === 'json';
  const types = ['all', ...(flags.includeSecret === true ? ['auth-header-secret'] : [])];
  for (const type of types) {
    const manifest = source.link.manifests?.find((offered) => offered.type === type);
    if (manifest === undefined)
      throw new CommandFailure(`unable to access the manifest info from '${source.name}' VirtualMachineExport`);
    const accept = isJson ? 'application/json' : 'application/yaml';
    const answer = await io.exchange({ method: 'GET', ...requestOf(source, manifest.url, { accept }) });
    const pieces: Uint8Array[] = [];
    for await (const piece of answer.body) pieces.push(piece);
    const text = Buffer.concat(pieces).toString();
    if (answer.status !== 200) throw new CommandFailure(`Bad status: ${answer.status} ${text.slice(0, 200)}`);
    await writeManifest(io, text, { output: flags.output, isJson, isFirst: type === 'all' });
  }
}

interface ManifestOutput {
  readonly output: string | undefined;
  readonly isJson: boolean;
  readonly isFirst: boolean;
}

async function writeManifest(io: VirtctlIo, text: string, { output, isJson, isFirst }: ManifestOutput): Promise<void> {
  const document = !isJson && text.trimStart().startsWith('{') ? stringify(JSON.parse(text), { lineWidth: 0 }) : text;
  const separated = isFirst || isJson ? document : `---\n${document}`;
  if (output === undefined || output === '' || output === '-') return print(io, separated.trimEnd());
  await (isFirst ? writeFile : appendFile)(output, `${separated.trimEnd()}\n`);
}
