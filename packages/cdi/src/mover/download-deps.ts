import { addressGuard } from './address-guard.ts';
import type { DownloadDeps } from './download.ts';
import { gcsAuthorizer } from './gcs.ts';
import type { HttpOptions } from './http-client.ts';
import type { MoverIo } from './main.ts';
import type { SourceTask } from './options.ts';
import { s3Authorizer } from './s3.ts';

/** How a source is spoken to: what may be reached, who asks, and how often. */
export async function downloadDeps(task: SourceTask, io: Pick<MoverIo, 'clock' | 'random' | 'log'>): Promise<DownloadDeps> {
  const { kind } = task.source;
  const http: HttpOptions = {
    source: kind === 'blank' ? 'http' : kind,
    // a registry that is trusted to speak plain HTTP is trusted by name, wherever it is
    guard: addressGuard([...task.allowedAddresses, ...(kind === 'registry' ? task.insecureRegistries : [])]),
    headers: task.headers,
    ca: task.ca,
    insecureSkipVerify: task.insecureSkipVerify,
    stallMs: task.stallMs,
  };
  const { clock, random, log } = io;
  const { retry, connections } = task;
  return { http: await authorized(task, http, io), clock, random, retry, log, ...(connections !== undefined && { connections }) };
}

async function authorized(
  { source, credentials }: SourceTask,
  http: HttpOptions,
  { clock }: Pick<MoverIo, 'clock'>,
): Promise<HttpOptions> {
  if (source.kind === 's3' && credentials !== undefined)
    return { ...http, authorizer: s3Authorizer(source.url, credentials, clock) };
  if (source.kind === 'gcs' && source.keyFile !== undefined)
    return { ...http, authorizer: await gcsAuthorizer(source.keyFile, http, clock) };
  return http;
}
