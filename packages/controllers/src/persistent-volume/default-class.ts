import type { StorageClass } from '@slipway/api';

const MARKS = ['storageclass.kubernetes.io/is-default-class', 'storageclass.beta.kubernetes.io/is-default-class'];

/** Name of the default class for claims; the newest of several. */
export function defaultClassName(classes: readonly StorageClass[]): string | undefined {
  const [newest] = classes
    .filter(({ metadata }) => MARKS.some((mark) => metadata.annotations?.[mark] === 'true'))
    .sort(
      (a, b) =>
        (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '') ||
        (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''),
    );
  return newest?.metadata.name;
}
