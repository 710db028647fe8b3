import { setTimeout as sleep } from 'node:timers/promises';
import { CONFIG_MAPS, configMap } from './api-objects.ts';
import type { ServerProcess } from './api-process.ts';
import { WireConnection, openConnections } from './api-wire.ts';

/** Connections opened at once: a burst of TLS handshakes is not what is measured. */
const BATCH = 8;
const MAX_WAIT_MS = 20_000;

export interface WatchLoad {
  readonly watchers: number;
  readonly events: number;
  readonly namespace: string;
  /** Called when all watches are open, before the first event. */
  readonly onConnected?: () => Promise<unknown>;
}

/**
 * Milliseconds from sending a create to each watcher having the event, for every event and watcher; one event at a
 * time. Throws when a watcher misses one.
 */
export async function measureWatchDelivery({ port, tls }: ServerProcess, options: WatchLoad): Promise<number[]> {
  const { watchers, events, namespace } = options;
  const latenciesMs: number[] = [];
  let marker = Buffer.alloc(0);
  let sentAt = 0;
  let missing = 0;
  let everybodyHasIt = (): void => undefined;
  const onChunk = (chunk: Buffer): void => {
    if (!chunk.includes(marker)) return;
    latenciesMs.push(performance.now() - sentAt);
    if (--missing === 0) everybodyHasIt();
  };
  const connections: WireConnection[] = [];
  const [writer] = await openConnections(1, port, tls);
  if (writer === undefined) throw new Error('No connection');
  try {
    // the version of the newest object: watchers are told what comes after it
    const list = await writer.request('GET', `${CONFIG_MAPS(namespace)}?limit=1`);
    const version = /"resourceVersion":"(\d+)"/.exec(list.body.toString())?.[1] ?? '';
    while (connections.length < watchers) {
      const some = await openConnections(Math.min(BATCH, watchers - connections.length), port, tls);
      connections.push(...some);
      await Promise.all(
        some.map((each) => each.watch(`${CONFIG_MAPS(namespace)}?watch=true&resourceVersion=${version}`, onChunk)),
      );
    }
    await options.onConnected?.();
    for (let event = 0; event < events; event++) {
      const name = `watched-${watchers}-${version}-${event}-end`;
      marker = Buffer.from(`"name":"${name}"`);
      missing = watchers;
      const delivered = new Promise<void>((resolve) => (everybodyHasIt = resolve));
      sentAt = performance.now();
      await writer.request('POST', CONFIG_MAPS(namespace), configMap(name));
      const timeOut = new AbortController();
      await Promise.race([
        delivered,
        sleep(MAX_WAIT_MS, undefined, { signal: timeOut.signal }).then(() => {
          throw new Error(`${missing} of ${watchers} watchers did not get event ${event}`);
        }),
      ]);
      timeOut.abort();
    }
    return latenciesMs;
  } finally {
    writer.close();
    for (const each of connections) each.close();
  }
}
