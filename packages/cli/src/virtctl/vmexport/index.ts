import { type ActionContext, addCommand, type CommandHost } from '../context.ts';
import { CommandFailure, print, warn } from '../io.ts';
import { downloadManifests, downloadVolume, type Source } from './download-export.ts';
import { createExport, deleteExport, sourceOf, type Tell, tokenOf, waitUntilReady } from './export-object.ts';
import { parseDuration } from '../go-duration.ts';
import { forwardToExport } from './port-forward-export.ts';
import { checkExportFlags, EXPORT_FUNCTIONS, type ExportFlags, exportOptions, SOURCE_FLAGS } from './vmexport-flags.ts';

const READINESS_TIMEOUT = '2m';
const RETRY_MS = 2_000;

const EXAMPLES = `  # Make an export of a virtual machine, of a snapshot or of a claim:
  PROGRAM vmexport create web-export --vm=web
  PROGRAM vmexport create snap-export --snapshot=before-upgrade
  PROGRAM vmexport create data-export --pvc=data

  # Delete it:
  PROGRAM vmexport delete web-export

  # Download a volume of an export (--volume may be left out where there is one alone):
  PROGRAM vmexport download web-export --volume=root --output=disk.img.gz

  # Make an export, download a volume, and delete the export:
  PROGRAM vmexport download web-export --vm=web --volume=root --output=disk.img.gz

  # The same through port 5410 of this machine, where the export server cannot be reached directly:
  PROGRAM vmexport download web-export --vm=web --volume=root --output=disk.img.gz --port-forward --local-port=5410

  # The manifests that make the virtual machine elsewhere, with the secret for their download:
  PROGRAM vmexport download web-export --vm=web --manifest --include-secret`;

/** vmexport create, delete and download. */
export function addVmExportCommands(host: CommandHost): void {
  addCommand<ExportFlags>(host, {
    usage: 'vmexport <function> <name>',
    shown: '(create|delete|download) NAME',
    description: 'Export a volume of a virtual machine.',
    examples: EXAMPLES,
    options: exportOptions,
    exclusive: [SOURCE_FLAGS, ['keep-vme', 'delete-vme']],
    run: async (context, [asked = '', name = ''], flags) => {
      const action = EXPORT_FUNCTIONS.find((known) => known === asked.toLowerCase());
      if (action === undefined) throw new CommandFailure(`invalid function '${asked.toLowerCase()}'`);
      checkExportFlags(action, flags);
      if (action === 'delete') return deleteExport(context, name);
      if (action === 'download') return download(context, name, flags);
      if (!(await createExport(context, name, flags)))
        throw new CommandFailure(`VirtualMachineExport '${context.namespace}/${name}' already exists`);
    },
  });
}

/** Downloads a volume or manifests, and deletes the export that it has made for that. */
export async function download(context: ActionContext, name: string, flags: ExportFlags): Promise<void> {
  const { io } = context;
  const isToFile = flags.output !== undefined && flags.output !== '' && flags.output !== '-';
  const tell: Tell = (line) => (isToFile ? print(io, line) : warn(io, line));
  const isOurs = sourceOf(flags) !== undefined && (await createExport(context, name, flags, tell));
  // manifests are for those who come later and need the export then
  const hasToGo = flags.manifest !== true && (flags.deleteVme === true || (isOurs && flags.keepVme !== true));
  try {
    await downloadReady(context, name, flags, tell);
  } finally {
    if (hasToGo) await deleteExport(context, name, tell);
  }
}

async function downloadReady(context: ActionContext, name: string, flags: ExportFlags, tell: Tell): Promise<void> {
  const timeoutMs = parseDuration('readiness-timeout', flags.readinessTimeout ?? READINESS_TIMEOUT);
  const isForwarded = flags.portForward === true;
  const links = isForwarded || flags.serviceUrl !== undefined ? 'internal' : 'external';
  const wait = { timeoutMs, links, tell } as const;
  const forward = isForwarded ? await forwardToExport(context, name, Number(flags.localPort), wait) : undefined;
  try {
    const source = await sourceFor(context, name, { ...flags, forwarded: forward?.address }, wait);
    if (flags.manifest === true) return await downloadManifests(context.io, source, flags);
    await downloadVolume(context.io, source, { ...flags, retries: Number(flags.retry), retryMs: RETRY_MS, tell });
    tell('Download finished succesfully'); // KubeVirt-compat: the spelling
  } finally {
    await forward?.close();
  }
}

async function sourceFor(
  context: ActionContext,
  name: string,
  { insecure, serviceUrl, forwarded }: ExportFlags & { readonly forwarded: string | undefined },
  wait: Parameters<typeof waitUntilReady>[2],
): Promise<Source> {
  await waitUntilReady(context, name, wait);
  const ready = await waitUntilReady(context, name, wait); // KubeVirt-compat: read again, so that the links are current
  const link = ready.status?.links?.[wait.links] ?? ready.status?.links?.internal;
  if (link === undefined) throw new CommandFailure('the export has no links: its server is not reachable from here');
  const address = serviceUrl ?? forwarded;
  return {
    name: `${context.namespace}/${name}`,
    link,
    token: await tokenOf(context, ready),
    insecure: insecure === true || forwarded !== undefined,
    ...(address !== undefined && { serviceUrl: address }),
  };
}
