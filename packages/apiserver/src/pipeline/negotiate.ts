import { StatusError } from '@slipway/apimachinery';
import { PROTOBUF_TYPE } from '../protobuf/decode.ts';

/** The shape and format the client accepts. */
export interface Accepted {
  readonly format: 'json' | 'yaml' | 'protobuf';
  /** `Table`, `PartialObjectMetadata` or `PartialObjectMetadataList`; absent: the object itself. */
  readonly as?: 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList';
  /** Version of meta.k8s.io the shape is wanted in. */
  readonly asVersion: 'v1' | 'v1beta1';
}

interface Clause {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

const SHAPES = ['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList'] as const;
const PLAIN: Accepted = { format: 'json', asVersion: 'v1' };
const MEDIA_TYPES = ['application/json', 'application/yaml', PROTOBUF_TYPE];

function parseAccept(header: string): Clause[] {
  const clauses = header.split(',').flatMap((part): Clause[] => {
    const [type = '', ...rest] = part.split(';').map((text) => text.trim());
    if (type === '') return [];
    const parameters = new Map(rest.map((text) => [text.split('=')[0] ?? '', text.slice(text.indexOf('=') + 1)]));
    const quality = parameters.has('q') ? Number(parameters.get('q')) : 1;
    return [{ type: type.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 1 : quality }];
  });
  return clauses.sort((a, b) => b.quality - a.quality); // stable: order counts among equals
}

/** Reads an Accept header for resources. Throws 406 when nothing in it can be served. */
export function negotiate(
  header: string | undefined,
  options: { readonly isCustom: boolean; readonly isCollection?: boolean; readonly hasProtobuf?: () => boolean },
): Accepted {
  if (header === undefined || header.trim() === '') return PLAIN;
  const clauses = parseAccept(header);
  for (const clause of clauses) {
    const accepted = acceptClause(clause);
    if (accepted === undefined || (isWholeInProtobuf(accepted) && options.hasProtobuf?.() !== true)) continue;
    return accepted;
  }
  const types = options.isCustom ? MEDIA_TYPES.slice(0, 2) : MEDIA_TYPES;
  if (clauses.some(({ parameters }) => parameters.has('as'))) throw notAcceptable(types);
  // the media type as such is unknown: refused before anybody looks at the shape
  const streams = options.isCollection
    ? ['application/json;stream=watch', 'application/vnd.kubernetes.protobuf;stream=watch']
    : [];
  throw new StatusError({
    code: 406,
    reason: 'NotAcceptable',
    message: `406: Not Acceptable\n\nAvailable representations: ${[...types, ...streams].join(', ')}`,
    details: {},
  });
}

/** Metadata can be written in protobuf for every kind, whole objects for those that have a description. */
const isWholeInProtobuf = ({ format, as }: Accepted): boolean => format === 'protobuf' && as === undefined;

function acceptClause({ type, parameters }: Clause): Accepted | undefined {
  const format = formatOf(type);
  if (format === undefined) return undefined;
  const as = parameters.get('as');
  if (as === undefined) return { format, asVersion: 'v1' };
  const shape = SHAPES.find((candidate) => candidate === as);
  const version = parameters.get('v');
  if (shape === undefined || parameters.get('g') !== 'meta.k8s.io') return undefined;
  if (shape === 'Table' && format === 'protobuf') return undefined;
  return version === 'v1' || version === 'v1beta1' ? { format, as: shape, asVersion: version } : undefined;
}

function formatOf(type: string): Accepted['format'] | undefined {
  if (type === '*/*' || type === 'application/json') return 'json';
  if (type === PROTOBUF_TYPE) return 'protobuf';
  return type === 'application/yaml' ? 'yaml' : undefined;
}

/** The form the client would rather read; failures are written in the form a client asked for, too. */
export function preferredFormat(header: string | undefined): Accepted['format'] {
  if (header === undefined || !(header.includes('yaml') || header.includes('protobuf'))) return 'json';
  for (const { type } of parseAccept(header)) {
    const format = formatOf(type);
    if (format !== undefined) return format;
  }
  return 'json';
}

export function notAcceptable(mediaTypes: readonly string[]): StatusError {
  return new StatusError({
    code: 406,
    reason: 'NotAcceptable',
    message: `only the following media types are accepted: ${mediaTypes.join(', ')}`,
  });
}
