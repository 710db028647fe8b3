/** Position inside a value while walking it; rendered only when something is to be reported. */
export type PathStack = (string | number)[];

/** `spec.disks[0].name`. */
export function renderPath(stack: readonly (string | number)[]): string {
  let text = '';
  for (const part of stack) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text;
}
