import { randomUUID } from 'node:crypto';
import { type UnstructuredObject, internalError, isObject } from '@slipway/apimachinery';
import { type WebhookClientConfig, callWebhook } from '../admission/webhooks/call-webhook.ts';
import type { Registry } from '../registry/registry.ts';
import type { Crd } from './crd-types.ts';

/** Brings objects of one kind to another version, in order. */
export type Convert = (objects: readonly UnstructuredObject[], apiVersion: string) => Promise<UnstructuredObject[]>;

const TIMEOUT_MS = 30_000;

/** The converter that a CustomResourceDefinition names; undefined when versions differ in their name alone. */
export function conversionOf({ spec }: Crd, registry: Registry): Convert | undefined {
  const { conversion } = spec;
  if (conversion?.strategy !== 'Webhook') return undefined;
  const config: WebhookClientConfig = conversion.webhook?.clientConfig ?? {};
  return async (objects, apiVersion) => {
    const [first] = objects;
    if (first === undefined) return [];
    const subject = `conversion webhook for ${first.apiVersion}, Kind=${first.kind} failed`;
    try {
      const uid = randomUUID();
      const body = {
        kind: 'ConversionReview',
        apiVersion: 'apiextensions.k8s.io/v1',
        request: { uid, desiredAPIVersion: apiVersion, objects },
      };
      const answer = await callWebhook(registry, { config, body, timeoutMs: TIMEOUT_MS });
      return convertedOf(answer, uid, objects, apiVersion);
    } catch (error) {
      throw internalError(`${subject}: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  };
}

/** Checks an answer; a converter may change labels and annotations, but no other metadata. */
function convertedOf(
  answer: unknown,
  uid: string,
  objects: readonly UnstructuredObject[],
  apiVersion: string,
): UnstructuredObject[] {
  const response = isObject(answer) ? answer['response'] : undefined;
  if (!isObject(response) || response['uid'] !== uid) throw new Error('the answer does not belong to the request');
  const { result, convertedObjects } = response;
  if (!isObject(result) || result['status'] !== 'Success') {
    throw new Error(isObject(result) && typeof result['message'] === 'string' ? result['message'] : 'no result');
  }
  if (!Array.isArray(convertedObjects) || convertedObjects.length !== objects.length) {
    throw new Error(`expected ${objects.length} converted objects`);
  }
  return objects.map((object, index) => {
    const converted: unknown = convertedObjects[index];
    if (!isObject(converted) || converted['apiVersion'] !== apiVersion || converted['kind'] !== object.kind) {
      throw new Error(`invalid converted object at index ${index}`);
    }
    const given = isObject(converted['metadata']) ? converted['metadata'] : {};
    const { labels, annotations, ...metadata } = object.metadata;
    const changed = { labels: given['labels'] ?? labels, annotations: given['annotations'] ?? annotations };
    const present = Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined));
    return { ...converted, apiVersion, kind: object.kind, metadata: { ...metadata, ...present } } as UnstructuredObject; // checked above
  });
}
