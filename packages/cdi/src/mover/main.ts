import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TimerClock } from '@slipway/runtime';
import { emptyTree } from './archive.ts';
import { downloadDeps } from './download-deps.ts';
import { importHttp } from './http-import.ts';
import type { ImageTools } from './image-tools.ts';
import { explainWriteError, formatBytes, ImportError } from './import-error.ts';
import { clearFile, type IngestDeps, type IngestResult } from './ingest.ts';
import { importLocalImage, isLocalImage, type LocalImageDeps } from './local-image.ts';
import { type MoverEnv, type MoverTask, readTask } from './options.ts';
import { preallocate } from './preallocate.ts';
import { ProgressReporter } from './progress.ts';
import type { RegistryDeps } from './registry-client.ts';
import { importRegistryFiles } from './registry-files.ts';
import { importRegistry } from './registry-import.ts';
import { receiveUploads } from './upload/upload-server.ts';

/** How a transfer ended; the node agent makes the container's termination state from it. */
export interface MoverOutcome {
  readonly exitCode: number;
  /** Termination message: CDI's JSON after success, else text for people. */
  readonly message: string;
  /** Absent unless the destination holds the complete, checked disk. */
  readonly result?: IngestResult & { readonly imageDigest?: string };
  readonly reason?: string;
}

/** What the process around a transfer offers. */
export interface MoverIo {
  readonly tools: ImageTools;
  readonly clock: TimerClock;
  readonly random: () => number;
  /** Of the running machine. */
  readonly bootId: string;
  /** Receives lines of JSON, at most two a second. */
  readonly progress: (line: string) => void;
  readonly log: (line: string) => void;
  /** Takes the outcome of a transfer that succeeded, and makes it outlive the process. */
  readonly tell?: (outcome: MoverOutcome) => void;
}

const MAX_MESSAGE = 4096;

/** Runs one transfer to its end. Never throws: what went wrong is in the outcome. */
export async function runMover(argv: readonly string[], env: MoverEnv, io: MoverIo, signal: AbortSignal): Promise<MoverOutcome> {
  const ending = new AbortController();
  let task: MoverTask | undefined;
  try {
    task = await readTask(argv, env);
    await mkdir(task.workDir, { recursive: true, mode: 0o700 });
    const either = AbortSignal.any([signal, ending.signal]);
    const { labels = {}, ...result } = await transfer(task, io, either);
    await preallocate(task.destination, io.tools, either);
    io.log(`done: ${result.format}, ${formatBytes(result.virtualBytes)}`);
    const outcome: MoverOutcome = { exitCode: 0, message: successMessage(task, labels), result };
    // before anything that a next run would go on with is removed: a kill in between must not cost the whole transfer
    io.tell?.(outcome);
    await emptyDirectory(task.workDir).catch((error: unknown) => io.log(`cannot clear the work directory: ${String(error)}`));
    return outcome;
  } catch (error) {
    return await failure(explainWriteError(error), task, io, signal);
  } finally {
    ending.abort(); // connections that an error left open
  }
}

type Transferred = MoverOutcome['result'] & { readonly labels?: Readonly<Record<string, string>> };

async function transfer(task: MoverTask, io: MoverIo, signal: AbortSignal): Promise<Transferred> {
  const deps: IngestDeps = {
    destination: task.destination,
    workDir: task.workDir,
    tools: io.tools,
    architecture: task.architecture,
    progress: new ProgressReporter(io.clock, io.progress),
    clock: io.clock,
    bootId: io.bootId,
  };
  const onPause = (problem: string): void => deps.progress.paused(problem);
  const download = { ...(await downloadDeps(task, io)), onPause };
  if (task.intake !== undefined)
    return receiveUploads(task.intake, { ...deps, log: io.log, discard: () => discard(task) }, signal);
  switch (task.source.kind) {
    case 'http':
    case 's3':
    case 'gcs':
      return importHttp(task.source, { ...deps, download, ...memberOf(task.source.url) }, signal);
    case 'registry':
      return pull(
        task.source,
        {
          ...deps,
          download,
          allowedDirectories: task.allowedDirectories,
          insecureRegistries: task.insecureRegistries,
          architecture: task.architecture,
          isArchitectureChosen: task.isArchitectureChosen,
          ...(task.credentials && { credentials: task.credentials }),
        },
        signal,
      );
    default:
      return makeBlank(task);
  }
}

/** What follows `#` is for the importer: servers do not see it. */
const memberOf = ({ hash }: URL): { member?: string } => (hash.length > 1 ? { member: decodeURIComponent(hash.slice(1)) } : {});

type RegistryTask = MoverTask['source'] & { readonly kind: 'registry' };

function pull({ reference, files }: RegistryTask, deps: LocalImageDeps & RegistryDeps, signal: AbortSignal) {
  if (files !== undefined) return importRegistryFiles(reference, files, deps, signal);
  return isLocalImage(reference) ? importLocalImage(reference, deps, signal) : importRegistry(reference, deps, signal);
}

async function makeBlank({ destination }: MoverTask): Promise<IngestResult> {
  await wipe(destination);
  return { format: 'raw', virtualBytes: destination.maxBytes };
}

async function failure(error: unknown, task: MoverTask | undefined, io: MoverIo, signal: AbortSignal): Promise<MoverOutcome> {
  if (signal.aborted) return { exitCode: 143, message: 'The transfer was stopped; it goes on where it was', reason: 'Stopped' };
  const isKnown = error instanceof ImportError;
  const message = error instanceof Error ? error.message : String(error);
  io.log(`failed: ${message}`);
  if (!isKnown && error instanceof Error && error.stack) io.log(error.stack);
  if (task !== undefined && (!isKnown || error.discardsData)) {
    await emptyDirectory(task.workDir);
    await wipe(task.destination).catch((cause: unknown) => io.log(`cannot clear the disk: ${String(cause)}`));
  }
  const reason = isKnown ? error.reason : 'Error';
  // KubeVirt-compat: a wrong checksum ends the pod as completed, so that nothing restarts it. Who uploads may try again.
  return {
    exitCode: reason === 'ChecksumError' && task?.intake === undefined ? 0 : 1,
    message: message.slice(0, MAX_MESSAGE),
    reason,
  };
}

/** A claim keeps its size and loses its content; an image that was not finished goes away. */
async function wipe(destination: MoverTask['destination']): Promise<void> {
  if (destination.filesPath !== undefined) await emptyTree(destination.filesPath);
  if (!destination.isClaim) return rm(destination.path, { force: true, recursive: true });
  const file = await open(destination.path, 'r+');
  try {
    await clearFile(file, destination.maxBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function discard({ workDir, destination }: MoverTask): Promise<void> {
  await emptyDirectory(workDir);
  await wipe(destination);
}

async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) await rm(join(directory, name), { recursive: true, force: true });
}

const successMessage = (task: MoverTask, labels: Readonly<Record<string, string>>): string =>
  JSON.stringify({
    ...(Object.keys(labels).length > 0 && { labels }),
    scratchSpaceRequired: false,
    preallocationApplied: task.destination.preallocates,
    deadlinePassed: false,
    message: task.intake === undefined ? 'Import Complete' : 'Upload Complete',
  });
