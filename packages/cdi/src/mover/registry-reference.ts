import { type ImageReference, parseReference } from '@slipway/runtime';
import { ImportError } from './import-error.ts';

/** Parses `docker://host/repo:tag`, or the same without scheme as containerDisks name images. Throws ImportError. */
export function parseImageReference(text: string): ImageReference {
  const image = parseReference(text.replace(/^docker:\/\//, ''));
  if (image === undefined)
    throw new ImportError('InvalidRequest', `"${text}" is not an image reference such as quay.io/containerdisks/debian:12`);
  return image;
}
