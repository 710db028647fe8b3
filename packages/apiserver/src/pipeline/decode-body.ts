import { StatusError, type UnstructuredObject, apiVersionOf, badRequest, cloneJson, isObject } from '@slipway/apimachinery';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { PROTOBUF_TYPE, decodeProtobuf } from '../protobuf/decode.ts';
import { type ApiRequest, bodyText } from './request.ts';
import { parseYaml } from './yaml.ts';

/** Kinds of the core group that are often mixed up: known, but not the one asked for. */
const BUILT_IN_NEIGHBOURS: ReadonlySet<string> = new Set([
  'ConfigMap',
  'Namespace',
  'Pod',
  'Secret',
  'Service',
  'ServiceAccount',
]);

export const unsupportedMediaType = (accepted: readonly string[]): StatusError =>
  new StatusError({
    code: 415,
    reason: 'UnsupportedMediaType',
    message: `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  });

const OBJECT_TYPES = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'];

/** Media type without parameters, lower case; JSON when the client says nothing. */
export function mediaType(request: ApiRequest): string {
  return (request.headers['content-type'] ?? 'application/json').split(';')[0]?.trim().toLowerCase() || 'application/json';
}

/** Parses text as JSON, else as YAML. Throws 400. */
export function parseText(text: string, type: 'json' | 'yaml'): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (type === 'json') throw badRequest(jsonErrorText(text, error));
  }
  return parseYaml(text);
}

function jsonErrorText(text: string, _error: unknown): string {
  const start = text.trimStart();
  if (start === '') return 'unexpected end of JSON input';
  return `couldn't get version/kind; json parse error: ${/^[{[]/.test(start) ? 'unexpected end of JSON input' : `invalid character '${start[0]}' looking for beginning of value`}`;
}

/** The body as JSON value and whether it may be changed in place. Undefined when it is empty. */
export function decodeValue(request: ApiRequest): unknown {
  const { body } = request;
  if (body.type === 'none') return undefined;
  if (body.type === 'value') return cloneJson(body.value);
  if (body.bytes.length === 0) return undefined;
  const type = mediaType(request);
  if (type === PROTOBUF_TYPE) return decodeProtobuf(body.bytes);
  return parseText(bodyText(body), type.includes('yaml') ? 'yaml' : 'json');
}

/** The object of a create or replace; a private copy. Throws 400 and 415. */
export function decodeObject(request: ApiRequest, definition: ResourceDefinition): UnstructuredObject {
  if (request.body.type === 'bytes' && !OBJECT_TYPES.includes(mediaType(request))) throw unsupportedMediaType(OBJECT_TYPES);
  const value = decodeValue(request);
  if (!isObject(value)) throw badRequest(`Object 'Kind' is missing in '${JSON.stringify(value ?? null)}'`);
  return asObject(value, definition);
}

/** Fills in kind and apiVersion and checks them. Throws 400. */
export function asObject(value: Record<string, unknown>, definition: ResourceDefinition): UnstructuredObject {
  const apiVersion = apiVersionOf(definition);
  value['kind'] ||= definition.kind;
  value['apiVersion'] ||= apiVersion;
  if (value['kind'] !== definition.kind || value['apiVersion'] !== apiVersion) throw mismatch(value, definition, apiVersion);
  if (value['metadata'] === undefined || value['metadata'] === null) value['metadata'] = {};
  if (!isObject(value['metadata'])) {
    throw badRequest(
      `${definition.kind} in version "${definition.version}" cannot be handled as a ${definition.kind}: json: cannot unmarshal metadata`,
    );
  }
  return value as UnstructuredObject; // kind, apiVersion and metadata were checked
}

/** A text as it is, anything else as JSON: `String` would call what a client put into `toString`. */
const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function mismatch(value: Record<string, unknown>, definition: ResourceDefinition, apiVersion: string): StatusError {
  const [kind, given] = [shown(value['kind']), shown(value['apiVersion'])];
  if (definition.custom && given !== apiVersion) {
    return badRequest(`the API version in the data (${given}) does not match the expected API version (${apiVersion})`);
  }
  const [left = '', right] = given.split('/');
  if (definition.custom) {
    return badRequest(
      `${definition.kind}.${definition.group} "" is invalid: kind: Invalid value: "${kind}": must be ${definition.kind}`,
    );
  }
  if (given === apiVersion && BUILT_IN_NEIGHBOURS.has(kind)) {
    return badRequest(
      `${kind} in version "${left}" cannot be handled as a ${definition.kind}: converting (${left}.${kind}) to (core.${definition.kind}): unknown conversion`,
    );
  }
  return badRequest(
    `${kind} in version "${right ?? left}" cannot be handled as a ${definition.kind}: no kind "${kind}" is registered for version "${given}"`,
  );
}
