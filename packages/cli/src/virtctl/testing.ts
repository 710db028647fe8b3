import { PassThrough } from 'node:stream';
import type { Client, ConnectRequest, MessageStream, RawRequest } from '@slipway/client';
import { runVirtctl, type VirtctlIo } from './index.ts';

/** What one command line did. */
export interface Recorded {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  /** `METHOD path body` of each request, `CONNECT path` of each stream. */
  readonly requests: readonly string[];
  readonly programs: readonly (readonly string[])[];
}

/** The world that one command line meets. */
export interface Setting {
  /** Answers by `METHOD path`; a thrown error is the server's refusal. */
  readonly answers?: Readonly<Record<string, () => unknown>>;
  readonly streams?: (request: ConnectRequest) => MessageStream;
  readonly stdin?: string;
  readonly onOutput?: (text: string) => void;
  readonly programStatus?: number;
  readonly exchanges?: VirtctlIo['exchange'];
}

const never = (): never => {
  throw new Error('Not expected here');
};

function fakeClient(requests: string[], { answers = {}, streams = never }: Setting): Client {
  const answer = (method: string, path: string): unknown => answers[`${method} ${path}`]?.();
  const object = (group: string, plural: string, namespace: string, name: string): string =>
    `/apis/${group}/v1/namespaces/${namespace}/${plural}${name && `/${name}`}`;
  const client = {
    get: async (kind: { group: string; plural: string }, key: { namespace: string; name: string }) => {
      const path = object(kind.group, kind.plural, key.namespace, key.name);
      requests.push(`GET ${path}`);
      return answer('GET', path) ?? { metadata: { name: key.name }, spec: {} };
    },
    list: async (kind: { group: string; plural: string }, { namespace = '', labelSelector = '' }) => {
      requests.push(`GET ${object(kind.group, kind.plural, namespace, '')}?${labelSelector}`);
      return { items: answer('GET', object(kind.group, kind.plural, namespace, '')) ?? [] };
    },
    create: async (kind: { group: string; plural: string }, body: { spec?: unknown }) => {
      requests.push(`POST ${kind.plural} ${JSON.stringify(body.spec)}`);
      return body;
    },
    patch: async (kind: { group: string; plural: string }, key: { namespace: string; name: string }, body: unknown) => {
      requests.push(`PATCH ${object(kind.group, kind.plural, key.namespace, key.name)} ${JSON.stringify(body)}`);
      return {};
    },
    delete: async (kind: { group: string; plural: string }, key: { namespace: string; name: string }) => {
      requests.push(`DELETE ${object(kind.group, kind.plural, key.namespace, key.name)}`);
    },
    raw: async ({ method, path, body }: RawRequest) => {
      if (!path.endsWith('subresources.kubevirt.io') && !path.endsWith('/version'))
        requests.push(`${method} ${path}${body === undefined ? '' : ` ${JSON.stringify(body)}`}`);
      return { status: 200, headers: {}, body: answer(method, path) };
    },
    connect: async (request: ConnectRequest) => {
      requests.push(`CONNECT ${request.path}${request.query === undefined ? '' : ` ${JSON.stringify(request.query)}`}`);
      return streams(request);
    },
  };
  // only what virtctl uses
  return client as unknown as Client;
}

/** Runs one command line of virtctl against a cluster that is played. */
export async function virtctl(line: string | readonly string[], setting: Setting = {}): Promise<Recorded> {
  const requests: string[] = [];
  const programs: string[][] = [];
  const texts = { out: '', err: '' };
  const sink = (to: 'out' | 'err'): PassThrough => {
    const stream = new PassThrough();
    stream.on('data', (data: Buffer) => {
      texts[to] += data.toString();
      if (to === 'out') setting.onOutput?.(texts.out);
    });
    return stream;
  };
  const stdin = new PassThrough();
  stdin.end(setting.stdin ?? '');
  const io: VirtctlIo = {
    stdin,
    stdout: sink('out'),
    stderr: sink('err'),
    env: { USER: 'jane' },
    home: '/home/jane',
    self: ['virtctl'],
    runProgram: async (argv) => {
      programs.push([...argv]);
      return setting.programStatus ?? 0;
    },
    hasProgram: async () => false,
    // retries come at once, time limits never
    sleep: (ms) => (ms < 60_000 ? Promise.resolve() : new Promise(() => {})),
    now: () => 0,
    interrupted: () => new Promise(() => {}),
    onResize: () => () => {},
    exchange: setting.exchanges ?? never,
    randomName: (length) => 'x'.repeat(length),
    version: { gitVersion: 'v1.2.3', gitCommit: 'abc', buildDate: '2026-01-01T00:00:00Z' },
  };
  const connect = async (_: VirtctlIo, flags: { namespace?: string }) => ({
    client: fakeClient(requests, setting),
    namespace: flags.namespace ?? 'default',
    close: async () => {},
  });
  const status = await runVirtctl(typeof line === 'string' ? line.split(' ') : line, io, { connect });
  return { status, ...texts, requests, programs };
}
