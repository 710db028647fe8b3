import { clusterUploadTokens, uploadProxy, uploadTokenApi } from '@slipway/cdi';
import type { Client } from '@slipway/client';
import { type AggregatedApi, type NodeConnector, type OpenRoute, systemClock } from '@slipway/runtime';
import { randomBytes } from 'node:crypto';

export interface UploadParts {
  readonly api: AggregatedApi;
  readonly routes: readonly OpenRoute[];
}

/** What the API server offers for uploads: tokens, and the paths that take the bytes. */
export function uploadParts(client: Client, nodes: NodeConnector, namespace: string): UploadParts {
  const tokens = clusterUploadTokens(client, namespace, Date.now);
  return {
    api: uploadTokenApi({
      client,
      tokens,
      now: () => new Date(),
      randomName: () => randomBytes(3).toString('hex').slice(0, 5),
    }),
    routes: uploadProxy({ client, nodes, tokens, clock: systemClock }),
  };
}
