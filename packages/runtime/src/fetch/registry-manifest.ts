import { isObject } from '@slipway/apimachinery';

/** Content of a registry, named by its hash. */
export interface Descriptor {
  readonly mediaType?: string;
  readonly digest: string;
  readonly size: number;
}

/** A manifest of the OCI or Docker v2 kind, or an index of several. */
export interface Manifest {
  readonly mediaType?: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly (Descriptor & { readonly platform?: { readonly architecture?: string; readonly os?: string } })[];
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Whether a reference is `sha256:…` and not a tag. */
export const isDigest = (reference: string): boolean => DIGEST.test(reference);

export const isDescriptor = (value: unknown): value is Descriptor =>
  isObject(value) &&
  typeof value['digest'] === 'string' &&
  isDigest(value['digest']) &&
  Number.isSafeInteger(value['size']) &&
  Number(value['size']) >= 0;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not JSON
  }
}

/** What a registry calls a manifest or an index; undefined when it is neither. */
export function readManifest(text: string): Manifest | undefined {
  const value = parsed(text);
  if (!isObject(value)) return undefined;
  const { layers, manifests } = value;
  const isList = (list: unknown, is: (entry: unknown) => boolean): boolean =>
    list === undefined || (Array.isArray(list) && list.every(is));
  const hasPlatform = (entry: unknown): boolean =>
    isObject(entry) && (entry['platform'] === undefined || isObject(entry['platform']));
  // the rest is checked where it is used
  return isList(layers, isObject) && isList(manifests, hasPlatform) ? (value as Manifest) : undefined;
}

/** A token that can stand in a header; registries use both names. */
export function readToken(text: string): string | undefined {
  const value = parsed(text);
  const token = isObject(value) ? (value['token'] ?? value['access_token']) : undefined;
  return typeof token === 'string' && /^[\x21-\x7e]{1,65536}$/.test(token) ? token : undefined;
}
