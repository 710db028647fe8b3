import { readAtMost } from '@slipway/runtime';
import { ImportError } from './import-error.ts';

/** All bytes of something small. Throws ImportError with the complaint beyond `maxBytes`. */
export const readAll = (stream: AsyncIterable<Buffer>, maxBytes: number, complaint: string): Promise<Buffer> =>
  readAtMost(stream, maxBytes, () => new ImportError('InvalidImage', complaint));
