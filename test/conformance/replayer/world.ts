import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { controllers } from '@slipway/controllers';
import { ControllerManager, silentLogger, systemClock } from '@slipway/runtime';
import { fakeNodeConnector } from '@slipway/testkit';
import { startWebhookServer } from './webhook-server.ts';
import { type Cluster, startCluster } from '../src/cluster.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Ask {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** An API server over HTTPS with the controllers that every cluster has. */
export interface World {
  /** Port and authority (base64) of the webhooks that stories may name, as `{hookPort}` and `{hookCa}`. */
  readonly variables: Readonly<Record<string, string>>;
  ask(question: Ask): Promise<Answer>;
  close(): Promise<void>;
}

/** The platform's own need nodes. */
const CLUSTER_CONTROLLERS = /^(generic-garbage|namespace|service-account|resourcequota|clusterrole|endpointslice|disruption)/;

export async function startWorld(): Promise<World> {
  const cluster = await startCluster();
  const { server, ca } = cluster;
  const manager = new ControllerManager({
    clientFor: (name) =>
      server.client({ username: `system:serviceaccount:kube-system:${name}`, groups: ['system:masters'] }, name),
    clock: systemClock,
    log: silentLogger,
    random: Math.random,
    uid: randomUUID,
    nodes: fakeNodeConnector(),
    settings: { installNamespace: 'slipway', osImagesNamespace: 'slipway', caBundle: ca, version: 'test' },
  });
  for (const registration of controllers) if (CLUSTER_CONTROLLERS.test(registration.name)) manager.register(registration);
  const stop = new AbortController();
  manager.start(stop.signal);
  const hooks = await startWebhookServer();
  return {
    variables: { hookPort: String(hooks.port), hookCa: hooks.ca },
    ask: (question) => send(question, cluster),
    async close() {
      stop.abort();
      await manager.stopped();
      await cluster.close();
      await hooks.close();
    },
  };
}

function send({ method, path, headers, body }: Ask, { port, ca, token }: Cluster): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const all = { authorization: `Bearer ${token}`, ...headers };
    const outgoing = httpsRequest({ host: '127.0.0.1', port, method, path, headers: all, ca, agent: false }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: Buffer.concat(chunks).toString('utf8') }),
      );
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
