import { type UnstructuredObject, apiVersionOf, badRequest } from '@slipway/apimachinery';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { PROTOBUF_TYPE } from '../protobuf/decode.ts';
import { encodeProtobuf, encodeProtobufList } from '../protobuf/encode.ts';
import { tableOf } from '../table/table.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';
import { type ListResult, listText } from './list.ts';
import { type Accepted, notAcceptable } from './negotiate.ts';
import type { Answer, Call } from './server-context.ts';
import { toYaml } from '@slipway/apimachinery';

const metaVersion = (accepted: Accepted): string => `meta.k8s.io/${accepted.asVersion}`;

/** Metadata alone, as metadata informers ask for it. */
export function partialMetadata(object: UnstructuredObject, apiVersion: string): UnstructuredObject {
  return { kind: 'PartialObjectMetadata', apiVersion, metadata: object.metadata };
}

/** One object in the shape the client asked for. */
export function shapeObject(
  call: Call,
  definition: ResourceDefinition,
  stored: StoredObject,
  accepted: Accepted,
  status = 200,
): Answer {
  switch (accepted.as) {
    case 'Table':
      return withFormat(
        {
          status,
          value: tableOf(definition, [stored], {
            ...tableOptions(call, accepted),
            resourceVersion: stored.object.metadata.resourceVersion ?? '',
          }),
        },
        accepted,
      );
    case 'PartialObjectMetadata':
      return withFormat({ status, value: partialMetadata(stored.object, metaVersion(accepted)) }, accepted);
    case 'PartialObjectMetadataList':
      throw notAcceptable(['application/json', 'application/yaml']);
    default:
      if (accepted.format === 'protobuf') return inProtobuf(status, encodeProtobuf(stored.object));
      return withFormat(new ObjectAnswer(status, stored), accepted);
  }
}

export function tableOptions(
  call: Call,
  accepted: Accepted,
): { readonly apiVersion: string; readonly includeObject: string; readonly nowMs: number } {
  const includeObject = call.request.query.get('includeObject') || 'Metadata';
  if (!['None', 'Metadata', 'Object'].includes(includeObject)) {
    throw badRequest(
      `Unable to convert to Table as requested: includeObject: Invalid value: ${JSON.stringify(includeObject)}: must be 'Metadata', 'Object', 'None', or empty`,
    );
  }
  return {
    apiVersion: metaVersion(accepted),
    includeObject,
    nowMs: call.server.nowMs(),
  };
}

/** A list in the shape the client asked for. */
export function shapeList(call: Call, definition: ResourceDefinition, list: ListResult, accepted: Accepted): Answer {
  const metadata = {
    resourceVersion: String(list.revision),
    ...(list.continue !== undefined && { continue: list.continue }),
    ...(list.remainingItemCount !== undefined && { remainingItemCount: list.remainingItemCount }),
  };
  switch (accepted.as) {
    case 'Table': {
      const table = tableOf(definition, list.items, { ...tableOptions(call, accepted), resourceVersion: '' });
      return withFormat({ status: 200, value: { ...table, metadata } }, accepted);
    }
    case 'PartialObjectMetadataList': {
      const items = list.items.map(({ object }) => partialMetadata(object, metaVersion(accepted)));
      return withFormat(
        { status: 200, value: { kind: 'PartialObjectMetadataList', apiVersion: metaVersion(accepted), metadata, items } },
        accepted,
      );
    }
    case 'PartialObjectMetadata':
      throw notAcceptable(['application/json', 'application/yaml']);
    default:
      if (accepted.format === 'protobuf') {
        const { kind, listKind } = definition;
        const objects = list.items.map(({ object }) => object);
        return inProtobuf(200, encodeProtobufList({ apiVersion: apiVersionOf(definition), kind, listKind }, metadata, objects));
      }
      return withFormat(lazyList(definition, list, metadata), accepted);
  }
}

/** In-process callers take the value, HTTP the text; neither pays for the other. */
class ObjectAnswer implements Answer {
  readonly status: number;
  private readonly stored: StoredObject;

  constructor(status: number, stored: StoredObject) {
    this.status = status;
    this.stored = stored;
  }

  get text(): string {
    return this.stored.json;
  }

  get value(): unknown {
    return this.stored.object;
  }
}

/** As above. */
function lazyList(definition: ResourceDefinition, list: ListResult, metadata: Record<string, unknown>): Answer {
  return {
    status: 200,
    get parts() {
      return listText(definition, list);
    },
    get value() {
      const apiVersion = definition.group === '' ? definition.version : `${definition.group}/${definition.version}`;
      return { kind: definition.listKind, apiVersion, metadata, items: list.items.map(({ object }) => object) };
    },
  };
}

/** An answer in the format the client asked for. */
export function withFormat(answer: Answer, accepted: Accepted): Answer {
  if (accepted.format === 'json') return answer;
  // only metadata comes here in protobuf; it is a plain object
  if (accepted.format === 'protobuf') return inProtobuf(answer.status, encodeProtobuf(answer.value as UnstructuredObject));
  const value: unknown = answer.text === undefined ? answer.value : JSON.parse(answer.text);
  return { status: answer.status, text: toYaml(value), headers: { 'content-type': 'application/yaml' } };
}

const inProtobuf = (status: number, bytes: Uint8Array): Answer => ({ status, bytes, headers: { 'content-type': PROTOBUF_TYPE } });
