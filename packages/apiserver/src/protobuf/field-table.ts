import table from './generated/fields.json' with { type: 'json' };

/**
 * Field numbers of the published .proto files. A message is `number name type` per entry; types: `s` text, `e` text for
 * which empty counts, `b` bytes, `i` integer, `?` boolean, `n` and `o` the same when they are absent while zero, `t` and
 * `u` time and micro time, `q` quantity, `x` int-or-string, `j` JSON in bytes, `l` a list in a message of its own, `-`
 * accepted and dropped, else another message. `*` repeats, `{s}` is a map; a message named `&` is part of the one around it.
 */
const TABLE: Readonly<Record<string, string>> = table;

export interface ProtoField {
  readonly number: number;
  readonly name: string;
  /** One of the letters above or the name of a message. */
  readonly type: string;
  readonly isRepeated: boolean;
  readonly isMap: boolean;
}

const parsed = new Map<string, ReadonlyMap<number, ProtoField>>();

/** Fields of a message by number; undefined for messages the table does not have. */
export function protoMessage(name: string): ReadonlyMap<number, ProtoField> | undefined {
  const known = parsed.get(name);
  const text = Object.hasOwn(TABLE, name) ? TABLE[name] : undefined;
  if (known !== undefined || text === undefined) return known;
  const fields = new Map(text === '' ? [] : text.split(',').map((entry) => parseField(entry)));
  parsed.set(name, fields);
  return fields;
}

function parseField(entry: string): [number, ProtoField] {
  const [number = '', name = '', type = ''] = entry.split(' ');
  const isMap = type.startsWith('{');
  const isRepeated = type.endsWith('*');
  const bare = isMap ? type.slice(1, -1) : type.replace('*', '');
  return [Number(number), { number: Number(number), name, type: bare, isRepeated, isMap }];
}

/** Kinds that every group version has, in the version they are described in. */
const META_KINDS: ReadonlySet<string> = new Set(['DeleteOptions', 'Status', 'WatchEvent', 'PartialObjectMetadata']);

/** Name of the message for a kind: `core.v1.Pod`, `rbac.v1.Role`. */
export function messageOf(apiVersion: string, kind: string): string {
  if (META_KINDS.has(kind)) return `meta.v1.${kind}`;
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? 'core' : (apiVersion.slice(0, slash).split('.')[0] ?? '');
  const name = `${group}.${apiVersion.slice(slash + 1)}.${kind}`;
  return slash < 0 && !Object.hasOwn(TABLE, name) ? `meta.v1.${kind}` : name; // APIGroupList and its like
}
