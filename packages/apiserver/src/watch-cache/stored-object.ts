import type { UnstructuredObject } from '@slipway/apimachinery';

/** Freezes a JSON value in depth, so that no reader can change what the others see. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const key in value) deepFreeze(value[key]);
  return Object.freeze(value);
}

/** JSON text of an object always begins with its kind and apiVersion, so that they can be exchanged without parsing. */
export function typePrefix(kind: string, apiVersion: string): string {
  return `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},`;
}

/** The stored text of an object. */
export function serializeObject(object: UnstructuredObject): string {
  const fields: Readonly<Record<string, unknown>> = object;
  // a field keeps the place where it was first written
  return JSON.stringify({ kind: object.kind, apiVersion: object.apiVersion, ...fields });
}

/** One version of an object as text and, when somebody needs it, as a frozen value. */
export class StoredObject {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly json: string;
  /** Made by this process, not read from the disk. */
  readonly isWritten: boolean;
  private parsed: UnstructuredObject | undefined;
  private bytes = -1;

  constructor(key: string, revision: number, json: string, parsed?: UnstructuredObject) {
    const scope = key.indexOf('//') + 2;
    const slash = key.indexOf('/', scope);
    this.key = key;
    this.namespace = key.slice(scope, slash);
    this.name = key.slice(slash + 1);
    this.revision = revision;
    this.json = json;
    this.parsed = parsed;
    this.isWritten = parsed !== undefined;
  }

  /** Of the text in UTF-8. */
  get byteLength(): number {
    if (this.bytes < 0) this.bytes = Buffer.byteLength(this.json);
    return this.bytes;
  }

  /** Drops the parsed form of a version that is history: its text remains, and is parsed again if somebody asks. */
  forgetValue(): void {
    this.parsed = undefined;
  }

  /** Deeply frozen. */
  get object(): UnstructuredObject {
    this.parsed ??= deepFreeze(JSON.parse(this.json) as UnstructuredObject); // only objects are ever stored
    return this.parsed;
  }
}

/** `<group>/<plural>//<namespace>/<name>`: sorts by namespace, then name. */
export function storeKey(storage: { readonly group: string; readonly plural: string }, namespace: string, name: string): string {
  return `${storePrefix(storage)}${namespace}/${name}`;
}

export const storePrefix = ({ group, plural }: { readonly group: string; readonly plural: string }): string =>
  `${group}/${plural}//`;
