import { StatusError } from '@slipway/apimachinery';
import type { UpdateResult } from '../registry/update-object.ts';
import type { WriteContext } from '../registry/write-context.ts';
import type { Call } from './server-context.ts';

/** Server-side apply. */
export async function handleApply(_call: Call, _context: WriteContext, _name: string): Promise<UpdateResult> {
  throw new StatusError({ code: 415, reason: 'UnsupportedMediaType', message: 'server-side apply is not served yet' });
}
