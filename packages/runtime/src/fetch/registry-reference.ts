import { isDigest } from './registry-manifest.ts';

/** A repository of a registry. */
export interface RegistryRepository {
  /** `host` or `host:port`. */
  readonly registry: string;
  readonly repository: string;
}

/** Something in a registry. */
export interface ImageReference extends RegistryRepository {
  /** Tag or `sha256:…`. */
  readonly reference: string;
}

const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+|\/)[a-z0-9]+)*$/;
const REGISTRY = /^(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(\d{1,5}))?$/i;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** Parses `host/repo:tag`, as containerDisks name images; without a host it is one of Docker Hub. Undefined when it is none. */
export function parseReference(text: string): ImageReference | undefined {
  const [name = '', digest] = text.split('@');
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const hasHost = /[.:]/.test(first) || first === 'localhost';
  const registry = hasHost ? first : 'docker.io';
  const path = hasHost ? name.slice(slash + 1) : name;
  const colon = path.lastIndexOf(':');
  const repository = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? 'latest' : path.slice(colon + 1);
  if (!isRegistry(registry) || !REPOSITORY.test(repository) || !(digest === undefined ? TAG.test(tag) : isDigest(digest)))
    return undefined;
  return {
    registry: registry.toLowerCase(),
    repository: registry === 'docker.io' && !repository.includes('/') ? `library/${repository}` : repository,
    reference: digest ?? tag,
  };
}

/** Whether it may be the name of a tag. */
export const isTag = (text: string): boolean => TAG.test(text);

/** A host that cannot change the rest of a URL, with or without a port. */
function isRegistry(text: string): boolean {
  const match = REGISTRY.exec(text);
  return match !== null && Number(match[1] ?? 443) <= 65535;
}
