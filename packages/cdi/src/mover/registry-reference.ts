import { ImportError } from './import-error.ts';

/** An image in a registry. */
export interface ImageReference {
  /** `host` or `host:port`. */
  readonly registry: string;
  readonly repository: string;
  /** Tag or `sha256:…`. */
  readonly reference: string;
}

const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+|\/)[a-z0-9]+)*$/;
const REGISTRY = /^(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(\d{1,5}))?$/i;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Parses `docker://host/repo:tag`, or the same without scheme as containerDisks name images. Throws ImportError. */
export function parseImageReference(text: string): ImageReference {
  const bare = text.replace(/^docker:\/\//, '');
  const [name = '', digest] = bare.split('@');
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  const registry = hasHost ? first : 'docker.io';
  const path = hasHost ? name.slice(slash + 1) : name;
  const colon = path.lastIndexOf(':');
  const repository = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? 'latest' : path.slice(colon + 1);
  const reference = digest ?? tag;
  if (!isRegistry(registry) || !REPOSITORY.test(repository) || !(digest === undefined ? TAG.test(tag) : DIGEST.test(digest)))
    throw new ImportError('InvalidRequest', `"${text}" is not an image reference such as quay.io/containerdisks/debian:12`);
  return {
    registry: registry.toLowerCase(),
    repository: registry === 'docker.io' && !repository.includes('/') ? `library/${repository}` : repository,
    reference,
  };
}

export const isDigest = (reference: string): boolean => DIGEST.test(reference);

/** A host that cannot change the rest of a URL, with or without a port. */
function isRegistry(text: string): boolean {
  const match = REGISTRY.exec(text);
  return match !== null && Number(match[1] ?? 443) <= 65535;
}
