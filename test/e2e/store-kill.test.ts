import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONFIG_MAPS, configMap } from '../perf/src/api-objects.ts';
import { type ServerProcess, startServerProcess } from '../perf/src/api-process.ts';
import { type WireConnection, openConnections } from '../perf/src/api-wire.ts';
import { ROOT } from './src/platform.ts';

const ROUNDS = 6;
const WRITERS = 16;
const PATH = CONFIG_MAPS('default');

const versionOf = (body: Buffer): string => /"resourceVersion":"(\d+)"/.exec(body.toString())?.[1] ?? '';

/** Creates until the connection breaks; remembers what the server acknowledged, with its version. */
async function writeUntilCut(
  connection: WireConnection,
  prefix: string,
  acknowledged: Map<string, string>,
  onAck: () => void,
): Promise<void> {
  for (let n = 0; ; n++) {
    const name = `${prefix}-${n}`;
    const answer = await connection.request('POST', PATH, configMap(name)).catch(() => undefined);
    if (answer === undefined) return;
    expect(answer.status).toBe(201);
    acknowledged.set(name, versionOf(answer.body));
    onAck();
  }
}

describe('kill -9 of the server under concurrent writes', () => {
  let server: ServerProcess;
  const acknowledged = new Map<string, string>();

  beforeAll(async () => {
    await promisify(execFile)(join(ROOT, 'slipway'), ['--version']); // builds what is out of date
    server = await startServerProcess();
  });
  afterAll(() => server?.destroy());

  it('loses nothing that was acknowledged, and watches tell each change once', async () => {
    const [before] = await openConnections(1, server.port, server.tls);
    const start = versionOf((await before?.request('GET', `${PATH}?limit=1`))?.body ?? Buffer.alloc(0));
    for (let round = 0; round < ROUNDS; round++) {
      const connections = await openConnections(WRITERS, server.port, server.tls);
      let left = 40 + round * 57; // acknowledgements before the axe falls
      let cut = (): void => undefined;
      const enough = new Promise<void>((resolve) => (cut = resolve));
      const writers = connections.map((connection, n) =>
        writeUntilCut(connection, `r${round}w${n}`, acknowledged, () => {
          if (--left === 0) cut();
        }),
      );
      await enough;
      await server.kill('SIGKILL');
      await Promise.all(writers);
      await server.restart();
      await checkList(server, acknowledged);
    }
    await checkWatch(server, acknowledged, start);
  });
});

async function checkList({ port, tls }: ServerProcess, acknowledged: ReadonlyMap<string, string>): Promise<void> {
  const [reader] = await openConnections(1, port, tls);
  const answer = await reader?.request('GET', PATH);
  reader?.close();
  const { items } = JSON.parse(answer?.body.toString() ?? '{}') as {
    items: { metadata: { name: string; resourceVersion: string } }[];
  };
  const stored = new Map(items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
  const lost = [...acknowledged].filter(([name, version]) => stored.get(name) !== version);
  expect(lost).toEqual([]);
  expect(new Set(stored.values()).size).toBe(stored.size);
}

/** A watch from before the first crash: in order, nothing twice, every acknowledged create. */
async function checkWatch({ port, tls }: ServerProcess, acknowledged: ReadonlyMap<string, string>, start: string): Promise<void> {
  const [watcher, writer] = await openConnections(2, port, tls);
  let text = '';
  let finished = (): void => undefined;
  const hasEnd = new Promise<void>((resolve) => (finished = resolve));
  await watcher?.watch(`${PATH}?watch=true&resourceVersion=${start}`, (chunk) => {
    text += chunk.toString();
    if (text.includes('"name":"the-end"')) finished();
  });
  await writer?.request('POST', PATH, configMap('the-end'));
  await hasEnd;
  const lines = text.split('\r\n').filter((line) => line.startsWith('{"type"'));
  const versions = lines.map((line) => Number(versionOf(Buffer.from(line))));
  expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
  const told = new Set(lines.map((line) => /"name":"([^"]+)"/.exec(line)?.[1]));
  expect([...acknowledged.keys()].filter((name) => !told.has(name))).toEqual([]);
  watcher?.close();
  writer?.close();
}
