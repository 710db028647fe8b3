import type { Answer, Call } from '../pipeline/server-context.ts';

/** Lists of groups, versions and resources. Undefined when the path is none of discovery's. */
export function handleDiscovery(_call: Call): Answer | undefined {
  return undefined;
}
