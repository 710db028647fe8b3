import { readdir, readFile, stat } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { bytesOf } from '@slipway/virt';
import { UserError } from '../report-failure.ts';
import { capacityFindings } from './capacity.ts';
import { checkObjects } from './check-objects.ts';
import { startCheckServer } from './check-server.ts';
import { cloudInitFindings } from './cloud-init.ts';
import { type Finding, type LocatedObject, locateObjects } from './located.ts';

export interface CheckOptions {
  readonly output: string;
  readonly nodes: number;
  readonly nodeMemory?: string;
  readonly nodeCpus?: number;
  readonly memoryOvercommit: number;
  readonly strict?: boolean;
}

const EXIT_FOUND = 1;
const EXIT_USAGE = 2;
const DEFAULT_SIGNAL = new AbortController().signal;

/** `slipway check FILES…`: exit status 1 when something is wrong, 2 when files cannot be read. */
export async function check(files: readonly string[], options: CheckOptions): Promise<void> {
  const findings: Finding[] = [];
  const objects: LocatedObject[] = [];
  const contents = await readFiles(files);
  for (const { name, content } of contents) {
    const located = locateObjects(name, content);
    findings.push(...located.findings);
    objects.push(...located.objects);
  }
  findings.push(...(await findingsOf(objects, options, DEFAULT_SIGNAL)));
  const order = new Map(contents.map(({ name }, index) => [name, index]));
  findings.sort((a, b) => (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.line - b.line);
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  if (options.output === 'json') console.log(JSON.stringify(findings, undefined, 2));
  else {
    for (const found of findings) console.log(formatFinding(found));
    console.error(`${objects.length} objects, ${errors} errors, ${findings.length - errors} warnings`);
  }
  if (errors > 0 || (options.strict && findings.length > 0)) process.exitCode = EXIT_FOUND;
}

/** Bytes of the node that `--node-memory` describes. */
function nodeMemory({ nodeMemory: size }: Pick<CheckOptions, 'nodeMemory'>): number {
  if (size === undefined) return totalmem();
  try {
    return bytesOf(size);
  } catch {
    throw new UserError(`--node-memory: not a size: ${size}; for example 64Gi`, EXIT_USAGE);
  }
}

/** Schema, admission, cloud-init and room of objects, in a cluster that has nothing but them. */
export async function findingsOf(
  objects: readonly LocatedObject[],
  options: CheckOptions,
  signal: AbortSignal,
): Promise<Finding[]> {
  if (objects.length === 0) return [];
  const server = await startCheckServer();
  try {
    const { findings, machines } = await checkObjects(server.client, objects, signal);
    const capacity = {
      nodes: options.nodes,
      memoryBytes: nodeMemory(options),
      cpus: options.nodeCpus ?? availableParallelism(),
      memoryOvercommit: options.memoryOvercommit,
    };
    const all = [...findings, ...objects.flatMap(cloudInitFindings), ...capacityFindings(machines, capacity)];
    return all.sort((a, b) => (a.file === b.file ? a.line - b.line : 0));
  } finally {
    await server.close();
  }
}

/** `FILE:LINE: severity: document N, Kind namespace/name: field: message`. Pure. */
export const formatFinding = ({ file, line, severity, document, object, field, message }: Finding): string =>
  `${file}:${line}: ${severity}: ${[`document ${document}${object === undefined ? '' : `, ${object}`}`, field, message].filter((part) => part !== undefined).join(': ')}`;

async function readFiles(names: readonly string[]): Promise<{ name: string; content: string }[]> {
  const read: { name: string; content: string }[] = [];
  for (const name of names) {
    try {
      if (name === '-') read.push({ name: '<stdin>', content: await readAll(process.stdin) });
      else if ((await stat(name)).isDirectory()) read.push(...(await readFiles(await manifestsIn(name))));
      else read.push({ name, content: await readFile(name, 'utf8') });
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(`Cannot read ${name}: ${error instanceof Error ? error.message : String(error)}`, EXIT_USAGE);
    }
  }
  return read;
}

async function manifestsIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  if (entries.some(({ name }) => name === 'Chart.yaml'))
    throw new UserError(`${directory} is a chart: slipway template ${directory} | slipway check -`, EXIT_USAGE);
  const names = entries
    .filter((entry) => entry.isDirectory() || /\.(?:ya?ml|json)$/.test(entry.name))
    .filter(({ name }) => !name.startsWith('.') && !/^kustomization\.ya?ml$/.test(name));
  return names.map(({ name }) => join(directory, name)).sort();
}
