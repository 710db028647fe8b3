import { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { type NodeKind, PEER_CERTIFICATES } from '@slipway/api';
import type { Client } from '@slipway/client';
import { systemClock } from '@slipway/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { createPeerIdentity } from './peer-certificate.ts';
import { PeerLink } from './peer-link.ts';
import { PeerChannel, type PeerMessage } from './peer-messages.ts';

const { signal } = new AbortController();
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Nodes that hold what their agents have published. */
function nodes(): { readonly client: Client; readonly annotations: Map<string, Record<string, string>> } {
  const annotations = new Map<string, Record<string, string>>();
  const client = {
    get: async (_: typeof NodeKind, { name }: { name: string }) => ({ metadata: { annotations: annotations.get(name) } }),
    patch: async (_: typeof NodeKind, { name }: { name: string }, patch: { metadata: { annotations: Record<string, string> } }) =>
      void annotations.set(name, patch.metadata.annotations),
  } as unknown as Client; // what a link calls
  return { client, annotations };
}

const open: PeerLink[] = [];
afterEach(() => {
  for (const link of open.splice(0)) link.close();
});

async function agent(client: Client, nodeName: string): Promise<PeerLink> {
  const link = await PeerLink.open({
    ...{ client, nodeName, address: '127.0.0.1', clock: systemClock, random: Math.random },
    log: log as never,
  });
  open.push(link);
  await link.publish(signal);
  return link;
}

const closed = (stream: Duplex): Promise<void> =>
  new Promise((resolve) => {
    stream.resume();
    if (stream.destroyed) resolve();
    else stream.once('close', () => resolve());
  });

describe('the certificate of an agent', () => {
  it('is signed by its own key', () => {
    const { cert, fingerprint } = createPeerIdentity('node-1');
    const certificate = new X509Certificate(cert);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.subject).toBe('CN=node-1');
    expect(certificate.fingerprint256).toBe(fingerprint);
  });
});

describe('agents', () => {
  it('exchange messages of a migration that both know', async () => {
    const { client } = nodes();
    const [source, target] = [await agent(client, 'a'), await agent(client, 'b')];
    const heard = new Promise<PeerMessage>((resolve) => {
      target.expect('m1', 'a', (kind, stream) => {
        const channel: PeerChannel = new PeerChannel(stream, (message) => channel.send({ ...message, kind }));
      });
      source
        .dial('m1', { node: 'b', ...target.address }, 'agent', signal)
        .then((stream) => new PeerChannel(stream, resolve).send({ type: 'offer', disks: [] }))
        .catch(() => {});
    });
    expect(await heard).toEqual({ type: 'offer', disks: [], kind: 'agent' });
  });

  it('exchange messages after both have new certificates', async () => {
    const { client, annotations } = nodes();
    const [source, target] = [await agent(client, 'a'), await agent(client, 'b')];
    const first = annotations.get('b')?.[PEER_CERTIFICATES];
    await source.renew(signal);
    await target.renew(signal);
    expect(annotations.get('b')?.[PEER_CERTIFICATES]?.endsWith(`,${first}`)).toBe(true);
    await target.renew(signal);
    expect(annotations.get('b')?.[PEER_CERTIFICATES]).not.toContain(first);
    const came = new Promise((resolve) => {
      target.expect('m1', 'a', resolve);
    });
    await source.dial('m1', { node: 'b', ...target.address }, 'memory', signal);
    expect(await came).toBe('memory');
  });

  it('do not take the certificate of one direction for the other', async () => {
    const { client, annotations } = nodes();
    const [source, target] = [await agent(client, 'a'), await agent(client, 'b')];
    const shown = annotations.get('b')?.[PEER_CERTIFICATES]?.replace('serve', 'was').replace('dial', 'serve') ?? '';
    annotations.set('b', { [PEER_CERTIFICATES]: shown });
    await expect(source.dial('m1', { node: 'b', ...target.address }, 'agent', signal)).rejects.toThrow('is not that of the node');
  });

  it.each([
    ['a migration that nobody expects', 'other', 'a'],
    ['a node that is not its source', 'm1', 'c'],
  ])('are turned away for %s', async (_, migration, expectedFrom) => {
    const { client } = nodes();
    const [source, target] = [await agent(client, 'a'), await agent(client, 'b')];
    await agent(client, 'c');
    let streams = 0;
    target.expect('m1', expectedFrom, () => streams++);
    const stream = await source.dial(migration, { node: 'b', ...target.address }, 'memory', signal);
    await closed(stream);
    expect(streams).toBe(0);
  });

  it('tell nothing to one that is not the agent of the node', async () => {
    const { client } = nodes();
    const [source, impostor] = [await agent(client, 'a'), await agent(client, 'c')];
    await agent(client, 'b');
    await expect(source.dial('m1', { node: 'b', ...impostor.address }, 'agent', signal)).rejects.toThrow(
      'is not that of the node',
    );
  });

  it.each([
    ['no JSON', 'hello\n'],
    ['a message without a type', '{"disks":[]}\n'],
    ['a message without an end', 'x'.repeat(300_000)],
  ])('cut off a peer that sends %s', async (_, text) => {
    const { client } = nodes();
    const [source, target] = [await agent(client, 'a'), await agent(client, 'b')];
    const messages: PeerMessage[] = [];
    target.expect('m1', 'a', (_kind, stream) => new PeerChannel(stream, (message) => messages.push(message)));
    const stream = await source.dial('m1', { node: 'b', ...target.address }, 'agent', signal);
    stream.write(text);
    await closed(stream);
    expect(messages).toEqual([]);
  });
});
