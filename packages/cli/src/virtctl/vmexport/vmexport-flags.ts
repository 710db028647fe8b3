import type { Command } from 'commander';
import { CommandFailure } from '../io.ts';
import { collect } from '../pflag.ts';

export interface SourceFlags {
  readonly vm?: string;
  readonly snapshot?: string;
  readonly pvc?: string;
  readonly vmtemplate?: string;
  readonly ttl?: string;
  readonly labels?: readonly string[];
  readonly annotations?: readonly string[];
}

export interface ExportFlags extends SourceFlags {
  readonly volume?: string;
  readonly output?: string;
  readonly format?: string;
  readonly manifest?: boolean;
  readonly includeSecret?: boolean;
  readonly manifestOutputFormat?: string;
  readonly serviceUrl?: string;
  readonly keepVme?: boolean;
  readonly deleteVme?: boolean;
  readonly insecure?: boolean;
  readonly portForward?: boolean;
  readonly localPort: string;
  readonly retry: string;
  readonly readinessTimeout?: string;
}

/** What is exported, in the order in which messages name it. */
export const SOURCE_FLAGS = ['vm', 'snapshot', 'pvc', 'vmtemplate'] as const;

export const exportOptions = (command: Command): Command =>
  command
    .option('--vm <string>', 'export the volumes of a stopped virtual machine')
    .option('--snapshot <string>', 'export a VirtualMachineSnapshot')
    .option('--pvc <string>', 'export a claim')
    .option('--vmtemplate <string>', 'export a VirtualMachineTemplate')
    .option('--output <string>', 'where the download is written; - is stdout')
    .option('--volume <string>', 'which volume, where there are several')
    .option('--format <string>', 'gzip or raw; without it gzip')
    .option('--insecure', 'do not check the certificate of the export server')
    .option('--keep-vme', 'keep the export after the download')
    .option('--delete-vme', 'delete the export after the download, even if it was there before')
    .option('--ttl <string>', 'time after which the export is deleted; the server says 2h')
    .option('--manifest', 'download the manifests that make the VM elsewhere instead of a volume')
    .option('--include-secret', 'with --manifest: also the secret that lets the importer download')
    .option('--manifest-output-format <string>', 'yaml or json; without it yaml')
    .option('--service-url <string>', 'host and port to use instead of those of the link')
    .option('--port-forward', 'reach the export server through the API server, at a port of this machine')
    .option('--local-port <string>', 'with --port-forward: the port of this machine; 0: any', '0')
    .option('--retry <int>', 'how often a broken download is tried again', '0')
    .option('--labels <strings>', 'labels of the export, key=value (repeatable)', collect)
    .option('--annotations <strings>', 'annotations of the export, key=value (repeatable)', collect)
    .option('--readiness-timeout <string>', 'how long the export may take to get ready; without it 2m');

/** Flags that have no meaning for a function, with the condition under which they were given. */
const LOCAL: readonly (readonly [string, (flags: ExportFlags) => boolean])[] = [
  ['--output', ({ output }) => output !== undefined],
  ['--volume', ({ volume }) => volume !== undefined],
  ['--insecure', ({ insecure }) => insecure === true],
  ['--keep-vme', ({ keepVme }) => keepVme === true],
  ['--delete-vme', ({ deleteVme }) => deleteVme === true],
  ['--port-forward', ({ portForward }) => portForward === true],
  ['--local-port', ({ localPort }) => localPort !== '0'],
  ['--format', ({ format }) => format !== undefined],
  ['--service-url', ({ serviceUrl }) => serviceUrl !== undefined],
  ['--retry', ({ retry }) => retry !== '0'],
];
const CREATION: typeof LOCAL = [
  ['--readiness-timeout', ({ readinessTimeout }) => readinessTimeout !== undefined],
  ['--labels', ({ labels }) => labels !== undefined],
  ['--annotations', ({ annotations }) => annotations !== undefined],
];

export const EXPORT_FUNCTIONS = ['create', 'delete', 'download'] as const;
export type ExportFunction = (typeof EXPORT_FUNCTIONS)[number];

/** Checks what one function can use. Throws CommandFailure in KubeVirt's words. */
export function checkExportFlags(name: ExportFunction, flags: ExportFlags): void {
  const hasSource = SOURCE_FLAGS.some((flag) => flags[flag] !== undefined);
  switch (name) {
    case 'create':
      if (!hasSource)
        throw new CommandFailure(
          'need to specify export kind when attempting to create a VirtualMachineExport [--pvc|--vm|--snapshot]',
        );
      return refuse(name, LOCAL, flags);
    case 'delete':
      if (hasSource) throw new CommandFailure('should not specify export kind');
      return refuse(name, [...LOCAL, ...CREATION], flags);
    case 'download':
      return checkDownload(flags);
  }
}

const incompatible = (flag: string, other: string): CommandFailure =>
  new CommandFailure(`the '${flag}' flag is incompatible with '${other}'`);
const invalid = (flag: string, values: string): CommandFailure =>
  new CommandFailure(`${flag} is not a valid value, acceptable values are ${values}`);

function refuse(name: string, unusable: typeof LOCAL, flags: ExportFlags): void {
  const found = unusable.find(([, isGiven]) => isGiven(flags));
  if (found !== undefined) throw incompatible(found[0], name);
}

function checkDownload(flags: ExportFlags): void {
  const port = Number(flags.localPort);
  if (flags.portForward === true && !(/^\d+$/.test(flags.localPort) && port <= 65_535))
    throw invalid('--local-port', 'valid port numbers');
  if (flags.format !== undefined && !['gzip', 'raw'].includes(flags.format)) throw invalid('--format', 'gzip/raw');
  if (Number(flags.retry) < 0) throw invalid('--retry', 'positive integers');
  if (flags.manifest === true) {
    if (flags.volume !== undefined) throw incompatible('--volume', '--manifest');
    if (!['json', 'yaml'].includes((flags.manifestOutputFormat ?? 'yaml').toLowerCase()))
      throw invalid('--manifest-output-format', 'json/yaml');
    if (flags.pvc !== undefined) throw incompatible('--pvc', '--manifest');
  } else if (flags.output === undefined || flags.output === '') {
    throw new CommandFailure(
      "warning: Binary output can mess up your terminal. Use '--output -' to output into stdout anyway or consider '--output <FILE>' to save to a file",
    );
  }
}
