// What browsers and web consoles use: watches and logs as WebSocket messages, exec in text.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Cluster, LOG, POD, createRunningPod, startCluster } from './src/cluster.ts';

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster();
  await createRunningPod(cluster);
}, 60_000);
afterAll(async () => {
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

interface Message {
  readonly isText: boolean;
  readonly data: Buffer;
}

interface Connection {
  readonly protocol: string;
  /** The next message; undefined when the server has closed. */
  next(): Promise<Message | undefined>;
  send(text: string): void;
  close(): void;
}

/** Opens a stream; rejects with the status of a refusal. */
function open(path: string, protocols: readonly string[] = [], headers: Record<string, string> = {}): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const options = { ca: cluster.ca, headers: { authorization: `Bearer ${cluster.token}`, ...headers } };
    const socket = new WebSocket(`${cluster.url.replace('https', 'wss')}${path}`, [...protocols], options);
    const queue: (Message | undefined)[] = [];
    let wake = (): void => undefined;
    const push = (message: Message | undefined): void => {
      queue.push(message);
      wake();
    };
    socket.on('message', (data, isBinary) => push({ isText: !isBinary, data: data as Buffer }));
    socket.on('close', () => push(undefined));
    socket.on('error', reject);
    socket.on('unexpected-response', (_request, response) => reject(new Error(`refused with ${response.statusCode}`)));
    socket.on('open', () =>
      resolve({
        protocol: socket.protocol,
        async next() {
          while (queue.length === 0) await new Promise<void>((resolveWait) => (wake = resolveWait));
          return queue.shift();
        },
        send: (text) => socket.send(text),
        close: () => socket.close(),
      }),
    );
  });
}

const MAPS = '/api/v1/namespaces/default/configmaps';

async function createMap(name: string): Promise<string> {
  const { body } = await cluster.admin.raw({ method: 'POST', path: MAPS, body: { metadata: { name } } });
  return (body as { metadata: { resourceVersion: string } }).metadata.resourceVersion; // it was created
}

describe('a watch over WebSocket', () => {
  it('sends one event per message, as text', async () => {
    const version = await createMap('first');
    const watch = await open(`${MAPS}?watch=true&resourceVersion=${version}`);
    await createMap('second');
    const message = await watch.next();
    expect(message?.isText).toBe(true);
    expect(JSON.parse(String(message?.data))).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'second' } } });
    watch.close();
  });

  it('shows tables and custom resources, too', async () => {
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const table = await open(`/api/v1/namespaces/default/pods?watch=1`, [], { accept });
    expect(JSON.parse(String((await table.next())?.data))).toMatchObject({ type: 'ADDED', object: { kind: 'Table' } });
    table.close();
  });

  it('sends protobuf in binary where that is asked for', async () => {
    await createMap('binary');
    const accept = 'application/vnd.kubernetes.protobuf';
    const watch = await open(`${MAPS}?watch=1&fieldSelector=metadata.name=binary`, [], { accept });
    const message = await watch.next();
    expect(message?.isText).toBe(false);
    expect(String(message?.data.subarray(2, 7))).toBe('ADDED');
    watch.close();
  });

  it('ends with the time-out that was asked for', async () => {
    const watch = await open(`${MAPS}?watch=1&resourceVersion=${await createMap('last')}&timeoutSeconds=1`);
    expect(await watch.next()).toBeUndefined();
  });

  it('takes a token from a browser, which can send no headers', async () => {
    const bearer = `base64url.bearer.authorization.k8s.io.${Buffer.from(cluster.token).toString('base64url')}`;
    const watch = await open(`${MAPS}?watch=1`, [bearer, 'base64.binary.k8s.io'], { authorization: '' });
    expect(watch.protocol).toBe('base64.binary.k8s.io');
    expect((await watch.next())?.isText).toBe(true);
    watch.close();
  });

  it('is refused before anything is upgraded', async () => {
    await expect(open(`${MAPS}?watch=1`, [], { authorization: 'Bearer wrong' })).rejects.toThrow('refused with 401');
    await expect(open('/api/v1/nosuch?watch=1')).rejects.toThrow('refused with 404');
    await expect(open(`${MAPS}?watch=1&labelSelector=%21%21`)).rejects.toThrow('refused with 400');
  });
});

describe('a log over WebSocket', () => {
  const path = `/api/v1/namespaces/default/pods/${POD}/log`;
  const whole = async (log: Connection, decode: (data: Buffer) => string): Promise<string> => {
    let text = '';
    for (let message = await log.next(); message !== undefined; message = await log.next()) text += decode(message.data);
    return text;
  };

  it('is binary', async () => {
    const log = await open(path, ['binary.k8s.io']);
    expect(await whole(log, String)).toBe(LOG);
  });

  it('is base64 for readers of text', async () => {
    const log = await open(`${path}?follow=true`, ['base64.binary.k8s.io']);
    expect(await whole(log, (data) => String(Buffer.from(String(data), 'base64')))).toBe(LOG);
  });

  it('of a pod that is not there is refused', async () => {
    await expect(open(path.replace(POD, 'nosuch'))).rejects.toThrow('refused with 404');
  });
});

describe('exec in text', () => {
  it.each(['base64.channel.k8s.io', 'v4.base64.channel.k8s.io'])('%s', async (protocol) => {
    const query = 'command=sh&command=-c&command=read%20x%3B%20echo%20got%20%24x&stdin=true&stdout=true&stderr=true';
    const exec = await open(`/api/v1/namespaces/default/pods/${POD}/exec?${query}`, [protocol]);
    expect(exec.protocol).toBe(protocol);
    exec.send(`0${Buffer.from('hello\n').toString('base64')}`);
    const message = await exec.next();
    expect(message?.isText).toBe(true);
    expect(String(message?.data.subarray(0, 1))).toBe('1');
    expect(String(Buffer.from(String(message?.data.subarray(1)), 'base64'))).toBe('got hello\n');
    exec.close();
  });
});
