import { isObject } from '@slipway/apimachinery';

/** Type of the OpenAPI v2 document as protobuf: kubectl before 1.27, Terraform and others ask for nothing else. */
export const PROTOBUF_V2_TYPE = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';

type Json = Record<string, unknown>;
type Field = Buffer;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Buffer.from([...bytes, rest]);
}

const message = (number: number, body: Uint8Array): Field => Buffer.concat([varint(number * 8 + 2), varint(body.length), body]);
const text = (number: number, value: unknown): Field[] =>
  typeof value === 'string' ? [message(number, Buffer.from(value))] : [];
const flag = (number: number, value: unknown): Field[] => (value === true ? [Buffer.from([...varint(number * 8), 1])] : []);
const join = (fields: readonly Field[]): Buffer => Buffer.concat(fields);

const count = (number: number, value: unknown): Field[] =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
    ? [Buffer.concat([varint(number * 8), varint(value)])]
    : [];

function double(number: number, value: unknown): Field[] {
  if (typeof value !== 'number') return [];
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return [Buffer.concat([varint(number * 8 + 1), bytes])];
}

/** Any value travels as YAML text, of which JSON is a part. */
const any = (value: unknown): Buffer => message(2, Buffer.from(`${JSON.stringify(value)}\n`));

const strings = (number: number, value: unknown): Field[] =>
  Array.isArray(value) ? value.flatMap((item) => text(number, item)) : [];

const extensions = (number: number, source: Json): Field[] =>
  Object.entries(source)
    .filter(([name]) => name.startsWith('x-'))
    .map(([name, value]) => message(number, join([...text(1, name), message(2, any(value))])));

const named = (name: string, body: Uint8Array): Buffer => join([...text(1, name), message(2, body)]);

/** A reference with siblings is written as `allOf` elsewhere; here siblings are allowed. */
function flattened(schema: Json): Json {
  const { allOf, ...rest } = schema;
  const only: unknown = Array.isArray(allOf) && allOf.length === 1 ? allOf[0] : undefined;
  return isObject(only) && '$ref' in only ? { ...rest, ...only } : schema;
}

function schemaMessage(source: unknown): Buffer {
  const schema = flattened(isObject(source) ? source : {});
  const { type, items, properties, additionalProperties: additional } = schema;
  const types = Array.isArray(type) ? type : [type];
  return join([
    ...text(1, schema['$ref']),
    ...text(2, schema['format']),
    ...text(3, schema['title']),
    ...text(4, schema['description']),
    ...(schema['default'] === undefined ? [] : [message(5, any(schema['default']))]),
    ...double(6, schema['multipleOf']),
    ...double(7, schema['maximum']),
    ...flag(8, schema['exclusiveMaximum']),
    ...double(9, schema['minimum']),
    ...flag(10, schema['exclusiveMinimum']),
    ...count(11, schema['maxLength']),
    ...count(12, schema['minLength']),
    ...text(13, schema['pattern']),
    ...count(14, schema['maxItems']),
    ...count(15, schema['minItems']),
    ...flag(16, schema['uniqueItems']),
    ...count(17, schema['maxProperties']),
    ...count(18, schema['minProperties']),
    ...strings(19, schema['required']),
    ...(Array.isArray(schema['enum']) ? schema['enum'].map((value) => message(20, any(value))) : []),
    ...(isObject(additional) ? [message(21, message(1, schemaMessage(additional)))] : []),
    ...(additional === true ? [message(21, join(flag(2, true)))] : []),
    ...(type === undefined ? [] : [message(22, join(strings(1, types)))]),
    ...(isObject(items) ? [message(23, message(1, schemaMessage(items)))] : []),
    ...(isObject(properties) ? [message(25, schemaMap(properties))] : []),
    ...extensions(31, schema),
  ]);
}

const schemaMap = (schemas: Json): Buffer =>
  join(Object.entries(schemas).map(([name, schema]) => message(1, named(name, schemaMessage(schema)))));

function parameterMessage(source: unknown): Buffer {
  const parameter = isObject(source) ? source : {};
  const { name, required, schema } = parameter;
  if (parameter['in'] === 'body') {
    const body = join([...text(2, name), ...text(3, 'body'), ...flag(4, required), message(5, schemaMessage(schema))]);
    return message(1, message(1, body));
  }
  const query = join([...flag(1, required), ...text(2, 'query'), ...text(4, name), ...text(6, parameter['type'])]);
  return message(1, message(2, message(3, query)));
}

function operationMessage(source: unknown): Buffer {
  const operation = isObject(source) ? source : {};
  const parameters = Array.isArray(operation['parameters']) ? operation['parameters'] : [];
  return join([
    ...text(5, operation['operationId']),
    ...strings(6, operation['produces']),
    ...strings(7, operation['consumes']),
    ...parameters.map((parameter) => message(8, parameterMessage(parameter))),
    message(9, Buffer.alloc(0)),
    ...strings(10, operation['schemes']),
    ...extensions(13, operation),
  ]);
}

const METHODS: Readonly<Record<string, number>> = { get: 2, put: 3, post: 4, delete: 5, options: 6, head: 7, patch: 8 };

const pathMessage = (source: unknown): Buffer =>
  join(
    Object.entries(isObject(source) ? source : {}).flatMap(([method, operation]) => {
      const number = METHODS[method];
      return number === undefined ? [] : [message(number, operationMessage(operation))];
    }),
  );

/** The OpenAPI v2 document in the wire format of gnostic's `openapi.v2.Document`. */
export function encodeOpenApiV2(document: unknown): Buffer {
  const { swagger, info, paths, definitions } = (isObject(document) ? document : {}) as Record<string, Json | undefined>; // ours
  return join([
    ...text(1, swagger),
    message(2, join([...text(1, info?.['title']), ...text(2, info?.['version'])])),
    message(8, join(Object.entries(paths ?? {}).map(([path, item]) => message(2, named(path, pathMessage(item)))))),
    message(9, schemaMap(definitions ?? {})),
  ]);
}
