import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, PassThrough, duplexPair } from 'node:stream';
import { PodVerb, bundledCustomResourceDefinitions } from '@slipway/api';
import { type ApiServer, builtinResources, createApiServer, createAuthority, issueCertificate } from '@slipway/apiserver';
import type { Client } from '@slipway/client';
import { startCommand } from '@slipway/hostapi';
import { type AggregatedApi, Channel, type NodeCall, type UserInfo, readFrames, writeFrame } from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';
import { fakeNodeConnector } from '@slipway/testkit';

/** An API server over HTTPS as clients find it, with a node that runs commands as plain processes of the test. */
export interface Cluster {
  readonly url: string;
  readonly port: number;
  readonly ca: string;
  readonly token: string;
  /** File with an administrator's credentials. */
  readonly kubeconfig: string;
  readonly server: ApiServer;
  readonly admin: Client;
  /** Unexpected failures that the server logged. */
  readonly failures: string[];
  close(): Promise<void>;
}

export const ADMIN: UserInfo = { username: 'admin', groups: ['system:masters'] };
export const POD = 'virt-launcher-web-abcde';
export const LOG = 'the first line\nthe last line\n';

export interface ClusterOptions {
  readonly tokens?: ReadonlyMap<string, UserInfo>;
  readonly aggregatedApis?: readonly AggregatedApi[];
}

const DAY_MS = 86_400_000;

export async function startCluster({ tokens = new Map(), aggregatedApis = [] }: ClusterOptions = {}): Promise<Cluster> {
  const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const authority = await createAuthority({ commonName: 'conformance', ...validity });
  const identity = { commonName: 'server', usages: ['server' as const], ipAddresses: ['127.0.0.1'] };
  const tls = await issueCertificate(authority, { ...identity, ...validity });
  const token = randomBytes(16).toString('hex');
  const failures: string[] = [];
  const store = await openStore({ fs: memoryStoreFs(), now: Date.now });
  const server = await createApiServer({
    store,
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
    tokens: new Map([...tokens, [token, ADMIN]]),
    aggregatedApis,
    nodes: commandNode(),
    logError: (error, what) => failures.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`),
  });
  const listener = await server.listen({ host: '127.0.0.1', port: 0, tls: { ...tls, clientCa: authority.cert } });
  const url = `https://127.0.0.1:${listener.port}`;
  const directory = mkdtempSync(join(tmpdir(), 'slipway-conformance-'));
  const kubeconfig = join(directory, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigOf(url, authority.cert, token));
  return {
    ...{ url, port: listener.port, ca: authority.cert, token, kubeconfig, server, failures },
    admin: server.client(ADMIN),
    async close() {
      await server.close();
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function kubeconfigOf(server: string, ca: string, token: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
    users: [{ name: 'u', user: { token } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'default' } }],
    'current-context': 'x',
  });
}

/** A running pod whose containers the node of this cluster serves. */
export async function createRunningPod({ admin }: Cluster, name = POD): Promise<void> {
  const path = '/api/v1/namespaces/default/pods';
  await admin.raw({
    method: 'POST',
    path: '/api/v1/namespaces/default/serviceaccounts',
    body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } },
  });
  const metadata = { name, labels: { 'kubevirt.io': 'virt-launcher' } };
  const spec = { nodeName: 'node1', containers: [{ name: 'compute', image: 'slipway/virt-launcher' }] };
  const made = await admin.raw({ method: 'POST', path, body: { apiVersion: 'v1', kind: 'Pod', metadata, spec } });
  if (made.status !== 201) throw new Error(`The pod was refused: ${JSON.stringify(made.body)}`);
  const status = {
    phase: 'Running',
    podIP: '10.0.0.1',
    conditions: [{ type: 'Ready', status: 'True' }],
    containerStatuses: [
      {
        ...{ name: 'compute', image: 'slipway/virt-launcher', imageID: '', restartCount: 0, ready: true, started: true },
        state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
      },
    ],
  };
  const headers = { 'content-type': 'application/merge-patch+json' };
  await admin.raw({ method: 'PATCH', path: `${path}/${name}/status`, body: { status }, headers });
}

function commandNode() {
  const nodes = fakeNodeConnector();
  nodes.onOpen(PodVerb.log, () => {
    const stream = new PassThrough();
    stream.end(LOG);
    return stream;
  });
  nodes.onOpen(PodVerb.exec, (params) => run(params));
  nodes.onOpen(PodVerb.attach, (params) => run({ ...params, command: ['cat'] }));
  nodes.onOpen(PodVerb.portForward, ({ port }) => {
    const socket = createConnection({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true });
    socket.on('error', () => socket.destroy());
    return socket;
  });
  return nodes;
}

/** What a node does for exec, without a sandbox around it. Sizes of the terminal are shown on stdout. */
function run(params: NodeCall['params']): Duplex {
  const [outer, inner] = duplexPair();
  inner.on('error', () => inner.destroy());
  outer.once('close', () => inner.destroy());
  const [program = 'false', ...args] = params['command'] as string[]; // the server checked it
  const serve = async (): Promise<void> => {
    const running = await startCommand([program, ...args]);
    outer.once('close', () => running.kill());
    if (params['stdin'] !== true) running.stdin.end();
    const input = async (): Promise<void> => {
      for await (const { channel, data } of readFrames(inner)) {
        if (channel === Channel.resize) await writeFrame(inner, Channel.stdout, data);
        else if (data.length === 0) running.stdin.end();
        else running.stdin.write(data);
      }
    };
    void input().catch(() => inner.destroy());
    const copy = async (source: AsyncIterable<Buffer>, channel: number): Promise<void> => {
      for await (const chunk of source) await writeFrame(inner, channel, chunk);
    };
    await Promise.all([copy(running.stdout, Channel.stdout), copy(running.stderr, Channel.stderr)]);
    const code = await running.ended;
    const failure = {
      ...{ status: 'Failure', reason: 'NonZeroExitCode', message: `exit status ${code}` },
      details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
    };
    const status = code === 0 ? { metadata: {}, status: 'Success' } : { metadata: {}, ...failure };
    await writeFrame(inner, Channel.status, Buffer.from(JSON.stringify(status)));
    inner.end();
  };
  serve().catch(() => inner.destroy());
  return outer;
}
