import { appendFile, writeFile } from 'node:fs/promises';
import type { kubevirt } from '@slipway/api';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { type ActionContext, addCommand, type CommandHost } from '../context.ts';
import { parseDuration } from '../go-duration.ts';
import { CommandFailure, print } from '../io.ts';
import { collect } from '../pflag.ts';
import { downloadTo } from './download.ts';
import { createExport, deleteExport, type SourceFlags, sourceOf, tokenOf, waitUntilReady } from './export-object.ts';

interface DownloadFlags extends SourceFlags {
  readonly volume?: string;
  readonly output?: string;
  readonly format: string;
  readonly manifest?: boolean;
  readonly includeSecret?: boolean;
  readonly manifestOutputFormat: string;
  readonly serviceUrl?: string;
  readonly keepVme?: boolean;
  readonly deleteVme?: boolean;
  readonly insecure?: boolean;
  readonly retry: string;
  readonly readinessTimeout: string;
}

const TOKEN_HEADER = 'x-kubevirt-export-token';

const sourceOptions = (command: Command): Command =>
  command
    .option('--vm <string>', 'export the volumes of a stopped virtual machine')
    .option('--snapshot <string>', 'export a VirtualMachineSnapshot')
    .option('--pvc <string>', 'export a claim')
    .option('--ttl <string>', 'time after which the export is deleted')
    .option('--labels <strings>', 'labels of the export (repeatable)', collect)
    .option('--annotations <strings>', 'annotations of the export (repeatable)', collect);

const downloadOptions = (command: Command): Command =>
  sourceOptions(command)
    .option('--volume <string>', 'which volume, where there are several')
    .option('--output <string>', 'where to write it; - is stdout')
    .option('--format <string>', 'gzip or raw', 'gzip')
    .option('--manifest', 'the manifests to make the VM elsewhere instead of a volume')
    .option('--include-secret', 'with --manifest: also the secret that lets the importer download')
    .option('--manifest-output-format <string>', 'yaml or json', 'yaml')
    .option('--service-url <string>', 'address to use instead of that of the link')
    .option('--keep-vme', 'keep the export afterwards')
    .option('--delete-vme', 'delete the export afterwards, even if it was there before')
    .option('--insecure', 'do not check the certificate of the export server')
    .option('--retry <int>', 'how often a broken download is tried again', '0')
    .option('--readiness-timeout <string>', 'how long the export may take to get ready', '2m');

/** vmexport create, delete and download. */
export function addVmExportCommands(host: CommandHost): void {
  const group = { ...host, program: host.program.command('vmexport').description('Export volumes of virtual machines.') };
  addCommand<SourceFlags>(group, {
    usage: 'create <name>',
    description: 'Make a VirtualMachineExport of a VM, a snapshot or a claim.',
    options: sourceOptions,
    run: async (context, [name = ''], flags) => {
      if (!(await createExport(context, name, flags)))
        throw new CommandFailure(`VirtualMachineExport '${context.namespace}/${name}' already exists`);
    },
  });
  addCommand(group, {
    usage: 'delete <name>',
    description: 'Delete a VirtualMachineExport.',
    run: (context, [name = '']) => deleteExport(context, name),
  });
  addCommand<DownloadFlags>(group, {
    usage: 'download <name>',
    description: 'Download a volume or the manifests of a VirtualMachineExport; makes it where a source is named.',
    options: downloadOptions,
    run: (context, [name = ''], flags) => download(context, name, flags),
  });
}

/** Downloads a volume or manifests, and deletes the export that it has made for that. */
export async function download(context: ActionContext, name: string, flags: DownloadFlags): Promise<void> {
  check(flags);
  const isOurs = sourceOf(flags) !== undefined && (await createExport(context, name, flags));
  const hasToGo = flags.deleteVme === true || (isOurs && flags.keepVme !== true);
  try {
    const ready = await waitUntilReady(context, name, parseDuration('readiness-timeout', flags.readinessTimeout));
    const token = await tokenOf(context, ready);
    const link = linkOf(ready);
    if (flags.manifest === true) await downloadManifests(context, link, token, flags);
    else await downloadVolume(context, link, token, flags);
    if (flags.output !== '-' && flags.output !== undefined) print(context.io, 'Download finished succesfully'); // KubeVirt-compat: the spelling
  } finally {
    if (hasToGo) await deleteExport(context, name);
  }
}

function check(flags: DownloadFlags): void {
  if (flags.manifest !== true && flags.output === undefined) throw new CommandFailure('required flag(s) "output" not set');
  if (flags.format !== 'gzip' && flags.format !== 'raw')
    throw new CommandFailure(`--format ${flags.format} is not supported: use gzip or raw`);
  if (!['yaml', 'json'].includes(flags.manifestOutputFormat))
    throw new CommandFailure(`--manifest-output-format ${flags.manifestOutputFormat} is not supported: use yaml or json`);
  if (flags.keepVme === true && flags.deleteVme === true)
    throw new CommandFailure('--keep-vme and --delete-vme cannot be combined');
  if (flags.manifest === true && flags.volume !== undefined)
    throw new CommandFailure('--manifest and --volume cannot be combined');
  if (!/^\d+$/.test(flags.retry)) throw new CommandFailure(`invalid argument "${flags.retry}" for "--retry" flag`);
}

function linkOf({ status }: kubevirt.VirtualMachineExport): kubevirt.VirtualMachineExportLink {
  const link = status?.links?.external ?? status?.links?.internal;
  if (link === undefined) throw new CommandFailure('the export has no links: its server is not reachable from here');
  return link;
}

const at = (url: string, serviceUrl: string | undefined): string =>
  serviceUrl === undefined ? url : url.replace(/^https:\/\/[^/]+/, `https://${serviceUrl}`);

async function downloadVolume(
  { io }: ActionContext,
  { cert, volumes = [] }: kubevirt.VirtualMachineExportLink,
  token: string,
  flags: DownloadFlags,
): Promise<void> {
  const { formats = [] } = chooseVolume(volumes, flags.volume);
  const wanted = flags.format === 'raw' ? ['raw', 'gzip'] : ['gzip', 'tar.gz'];
  const format = wanted
    .map((name) => formats.find((offered) => offered.format === name))
    .find((offered) => offered !== undefined);
  if (format === undefined)
    throw new CommandFailure(`the volume is offered as ${formats.map(({ format: name }) => name).join(', ')} only`);
  await downloadTo(io, {
    request: {
      url: at(format.url, flags.serviceUrl),
      headers: { [TOKEN_HEADER]: token },
      ca: cert === '' ? undefined : cert,
      insecure: flags.insecure === true,
    },
    output: flags.output ?? '-',
    gunzip: flags.format === 'raw' && format.format === 'gzip',
    retries: Number(flags.retry),
  });
}

function chooseVolume(volumes: readonly kubevirt.VirtualMachineExportVolume[], name: string | undefined) {
  const names = volumes.map((volume) => volume.name).join(', ');
  if (name === undefined && volumes.length > 1)
    throw new CommandFailure(`detected more than one downloadable volume (${names}): select one with the --volume flag`);
  const volume = name === undefined ? volumes[0] : volumes.find((entry) => entry.name === name);
  if (volume === undefined)
    throw new CommandFailure(`there is no downloadable volume ${name ?? ''}; there are: ${names || 'none'}`);
  return volume;
}

async function downloadManifests(
  { io }: ActionContext,
  { cert, manifests = [] }: kubevirt.VirtualMachineExportLink,
  token: string,
  flags: DownloadFlags,
): Promise<void> {
  const types = ['all', ...(flags.includeSecret === true ? ['auth-header-secret'] : [])];
  const accept = flags.manifestOutputFormat === 'json' ? 'application/json' : 'application/yaml';
  for (const type of types) {
    const manifest = manifests.find((offered) => offered.type === type);
    if (manifest === undefined) throw new CommandFailure(`the export offers no manifests of type ${type}`);
    const answer = await io.exchange({
      method: 'GET',
      url: at(manifest.url, flags.serviceUrl),
      headers: { [TOKEN_HEADER]: token, accept },
      ca: cert === '' ? undefined : cert,
      insecure: flags.insecure === true,
    });
    const pieces: Uint8Array[] = [];
    for await (const piece of answer.body) pieces.push(piece);
    const text = Buffer.concat(pieces).toString();
    if (answer.status !== 200) throw new CommandFailure(`bad status: ${answer.status} ${text.slice(0, 200)}`);
    await writeManifest(io, text, flags, type === 'all');
  }
}

async function writeManifest(io: ActionContext['io'], text: string, flags: DownloadFlags, isFirst: boolean): Promise<void> {
  const isJson = text.trimStart().startsWith('{');
  const document = flags.manifestOutputFormat === 'yaml' && isJson ? stringify(JSON.parse(text), { lineWidth: 0 }) : text;
  const separated = isFirst || flags.manifestOutputFormat === 'json' ? document : `---\n${document}`;
  if (flags.output === undefined || flags.output === '-') return print(io, separated.trimEnd());
  await (isFirst ? writeFile : appendFile)(flags.output, `${separated.trimEnd()}\n`);
}
