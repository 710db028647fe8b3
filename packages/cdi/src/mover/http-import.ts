import { createHash } from 'node:crypto';
import type { Checksum } from './checksum.ts';
import { Download, type DownloadDeps } from './download.ts';
import { ImportError } from './import-error.ts';
import type { IngestDeps, IngestResult } from './ingest.ts';
import { removeJournal } from './journal.ts';
import { type Reception, receive } from './receive.ts';

export interface HttpImport {
  readonly url: URL;
  readonly checksum?: Checksum;
}

export type HttpImportDeps = IngestDeps & { readonly download: DownloadDeps };

const MAX_RESTARTS = 5;

/** Fetches a file over HTTP into the destination; a run that is killed is continued by the next one. */
export async function importHttp(source: HttpImport, deps: HttpImportDeps, signal: AbortSignal): Promise<IngestResult> {
  let restarts = 0;
  const reception: Reception = {
    request: createHash('sha256').update(source.url.href).digest('hex'),
    ...(source.checksum && { checksum: source.checksum }),
    // servers that disagree among themselves about a file are asked once
    open: (known) => new Download(source.url, { ...deps.download, ...(restarts > 0 && { connections: 1 }) }, known),
  };
  for (; ; restarts++) {
    try {
      return await receive(reception, deps, signal);
    } catch (error) {
      if (!(error instanceof ImportError) || error.reason !== 'SourceChanged' || restarts === MAX_RESTARTS) throw error;
      deps.download.log(error.message);
      await removeJournal(deps.workDir);
    }
  }
}
