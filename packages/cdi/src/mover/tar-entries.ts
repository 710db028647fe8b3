import { type Extract, extract } from 'tar-stream';
import { ImportError } from './import-error.ts';

/** One member of an archive with its content, which must be read or resumed. */
export type TarEntry = Extract extends AsyncIterable<infer Entry> ? Entry : never;

/** Members of an archive in order. Ends when the input has ended, so that whatever checks the input has seen all of it. */
export async function* tarEntries(tar: AsyncIterable<Buffer>): AsyncGenerator<TarEntry, void> {
  const entries = extract();
  const feeding = feed(tar, entries);
  // the loop reports what breaks; this keeps Node from calling it unhandled meanwhile
  feeding.catch((error: unknown) => entries.destroy(error instanceof Error ? error : new Error(String(error))));
  for await (const entry of entries) yield entry;
  await feeding;
}

async function feed(tar: AsyncIterable<Buffer>, entries: Extract): Promise<void> {
  for await (const chunk of tar) {
    if (entries.destroyed) continue;
    if (!entries.write(chunk)) await drained(entries);
  }
  if (!entries.destroyed) entries.end(undefined);
}

/** Resolves when more may be written, or when nobody reads any more. */
function drained(stream: Extract): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      stream.off('drain', settle);
      stream.off('close', settle);
      resolve();
    };
    stream.once('drain', settle);
    stream.once('close', settle);
  });
}

/** Words of tar-stream about bytes that are no archive. */
const BROKEN = /tar header|Unexpected end of data|Header exceeds|Invalid header|pax/i;

/** Turns the error of an archive that is broken into one for people; every other error stays as it is. */
export function explainTarError(error: unknown): unknown {
  if (error instanceof ImportError || !(error instanceof Error) || !BROKEN.test(error.message)) return error;
  return new ImportError(
    'InvalidImage',
    'The archive is truncated or corrupt: it is not a tar archive to its end. Publish it again',
    { cause: error },
  );
}
