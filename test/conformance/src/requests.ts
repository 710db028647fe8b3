// Requests as tools send them: over HTTPS, with the status that the answer must have.
import { StatusError } from '@slipway/apimachinery';
import { type Client, type RawResponse, createHttpClient } from '@slipway/client';
import { expect } from 'vitest';
import type { Cluster } from './cluster.ts';

export type Json = Record<string, unknown>;

export const NAMESPACE = '/api/v1/namespaces/default';
export const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
export const JOBS = '/apis/batch/v1/namespaces/default/jobs';
export const VMS = '/apis/kubevirt.io/v1/namespaces/default/virtualmachines';
export const STRATEGIC = { 'content-type': 'application/strategic-merge-patch+json' };
export const MERGE = { 'content-type': 'application/merge-patch+json' };
export const JSON_PATCH = { 'content-type': 'application/json-patch+json' };
export const APPLY = { 'content-type': 'application/apply-patch+yaml' };

export interface Step {
  readonly body?: unknown;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Requester {
  readonly client: Client;
  /** A refusal is an answer too. */
  readonly answerOf: (method: string, path: string, step: Step) => Promise<RawResponse>;
  /** Sends a request and returns the answer's body; the status must be one of those given. */
  readonly send: (method: string, path: string, status: number | readonly number[], step?: Step) => Promise<Json>;
  readonly close: () => Promise<void>;
}

export function requesterOf({ url, ca, token }: Cluster): Requester {
  const client = createHttpClient({ server: url, ca, credentials: () => Promise.resolve({ token }) });
  return requesterWith(client, () => client.close());
}

/** Sends with whatever rights the client has. */
export function requesterWith(client: Client, close: () => Promise<void> = () => Promise.resolve()): Requester {
  const answerOf: Requester['answerOf'] = async (method, path, step) => {
    try {
      return await client.raw({ method, path, ...step });
    } catch (error) {
      if (error instanceof StatusError) return { status: error.code, headers: {}, body: error.status };
      throw error;
    }
  };
  return {
    client,
    answerOf,
    async send(method, path, status, step = {}) {
      const answer = await answerOf(method, path, step);
      expect([status].flat(), `${method} ${path}: ${(JSON.stringify(answer.body) ?? '').slice(0, 500)}`).toContain(answer.status);
      return (typeof answer.body === 'object' && answer.body !== null ? answer.body : { text: answer.body }) as Json; // JSON of the server
    },
    close,
  };
}

export const metadataOf = (object: Json): Json => object['metadata'] as Json; // every object has it
export const itemsOf = (list: Json): readonly Json[] => list['items'] as Json[]; // every list has them
export const namesOf = (list: Json): readonly unknown[] => itemsOf(list).map((item) => metadataOf(item)['name']);

export const deployment = (name: string, image: string, extra: Json = {}): Json => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'default', ...extra },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image }] } },
  },
});

export const vm = (name: string, extra: Json = {}): Json => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name, namespace: 'default', ...extra },
  spec: { runStrategy: 'Halted', template: { spec: { domain: { memory: { guest: '1Gi' }, devices: {} } } } },
});
