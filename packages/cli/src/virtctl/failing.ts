import { StatusError } from '@slipway/apimachinery';
import { CommandFailure } from './io.ts';

/** Says what was being done when the server refused it: the text stands before the server's own message. */
export async function failing<T>(doing: string, request: Promise<T>): Promise<T> {
  try {
    return await request;
  } catch (error) {
    throw error instanceof StatusError ? new CommandFailure(`${doing}${error.message}`) : error;
  }
}
