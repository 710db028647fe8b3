import type { Answer, Call } from '../pipeline/server-context.ts';

/** OpenAPI v2 and v3 documents. Undefined when the path is none of theirs. */
export async function handleOpenApi(_call: Call): Promise<Answer | undefined> {
  return undefined;
}
