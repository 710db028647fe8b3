/** Ours carry this suffix, as the engine keeps its own. */
export const SUFFIX = '__';

/** Functions of the engine that are not as Kubernetes has them. */
export const REPLACED: ReadonlySet<string> = new Set([
  ...['matches', 'indexOf', 'lastIndexOf', 'substring', 'lowerAscii', 'upperAscii', 'split'],
]);

/** Name under which a function that replaces one of the engine is registered. */
export const replacement = (name: string): string => `${name}${SUFFIX}`;
