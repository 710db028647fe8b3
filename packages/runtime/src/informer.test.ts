import type { KubeObject, ResourceKind, WatchEvent } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { describe, expect, it } from 'vitest';
import { systemClock } from './clock.ts';
import { Informer, type InformerEvent } from './informer.ts';
import { silentLogger } from './logger.ts';

const WidgetKind: ResourceKind<KubeObject> = {
  group: 'x.io',
  version: 'v1',
  kind: 'Widget',
  plural: 'widgets',
  namespaced: true,
};

const widget = (name: string, resourceVersion: string, uid = name): KubeObject => ({
  apiVersion: 'x.io/v1',
  kind: 'Widget',
  metadata: { name, namespace: 'a', uid, resourceVersion, managedFields: [{ manager: 'm' }] },
});

/** A server that answers the n-th list and watch with the n-th script; the last watch stays open. */
function scripted(lists: readonly { rv: string; items: KubeObject[] }[], watches: readonly WatchEvent<KubeObject>[][]) {
  const asked: { list: number; watch: (string | undefined)[] } = { list: 0, watch: [] };
  const client = {
    list: () => {
      const answer = lists[asked.list++];
      if (answer === undefined) return Promise.reject(new Error('No more lists'));
      return Promise.resolve({
        apiVersion: 'x.io/v1',
        kind: 'WidgetList',
        metadata: { resourceVersion: answer.rv },
        items: answer.items,
      });
    },
    async *watch(_: unknown, options: { resourceVersion?: string; signal: AbortSignal }) {
      const script = watches[asked.watch.length];
      asked.watch.push(options.resourceVersion);
      yield* script ?? [];
      if ((script === undefined || script === watches.at(-1)) && !options.signal.aborted) {
        await new Promise((resolve) => options.signal.addEventListener('abort', resolve, { once: true }));
      }
    },
  };
  // the informer uses nothing else of a client
  return { asked, client: client as unknown as Client };
}

async function observe(server: ReturnType<typeof scripted>, until: number) {
  const stop = new AbortController();
  const clock = { ...systemClock, setTimer: (_: number, callback: () => void) => systemClock.setTimer(0, callback) };
  const informer = new Informer(WidgetKind, { client: server.client, clock, random: () => 0, log: silentLogger });
  const events: InformerEvent<KubeObject>[] = [];
  const reached = new Promise<void>((resolve) => {
    informer.addHandler((event) => {
      if (events.push(event) === until) resolve();
    });
  });
  const running = informer.run(stop.signal);
  await reached;
  stop.abort();
  await running;
  return {
    informer,
    events: events.map(({ type, object }) => `${type} ${object.metadata.name}@${object.metadata.resourceVersion}`),
  };
}

describe('Informer', () => {
  it('lists, then follows the watch from the version of the list', async () => {
    const server = scripted(
      [{ rv: '5', items: [widget('a', '3')] }],
      [
        [
          { type: 'MODIFIED', object: widget('a', '6') },
          { type: 'ADDED', object: widget('b', '7') },
          { type: 'DELETED', object: widget('a', '8') },
        ],
      ],
    );
    const { informer, events } = await observe(server, 4);
    expect(events).toEqual(['added a@3', 'updated a@6', 'added b@7', 'deleted a@8']);
    expect(server.asked.watch).toEqual(['5']);
    expect(informer.lister.list('a').map((object) => object.metadata.name)).toEqual(['b']);
  });

  it('resumes a closed watch after the last event or bookmark', async () => {
    const bookmark: WatchEvent<KubeObject> = {
      type: 'BOOKMARK',
      object: { ...widget('', '9'), metadata: { resourceVersion: '9' } },
    };
    const server = scripted([{ rv: '5', items: [] }], [[bookmark], [{ type: 'ADDED', object: widget('a', '10') }]]);
    await observe(server, 1);
    expect(server.asked).toEqual({ list: 1, watch: ['5', '9'] });
  });

  it('lists again after 410 and reports what changed meanwhile', async () => {
    const gone: WatchEvent<KubeObject> = {
      type: 'ERROR',
      object: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code: 410, reason: 'Expired' },
    };
    const before = [widget('kept', '1'), widget('changed', '2'), widget('gone', '3'), widget('replaced', '4', 'old')];
    const after = [widget('kept', '1'), widget('changed', '12'), widget('replaced', '14', 'new')];
    const server = scripted(
      [
        { rv: '5', items: before },
        { rv: '20', items: after },
      ],
      [[gone], []],
    );
    const { events } = await observe(server, 8);
    expect(events.slice(4)).toEqual(['updated changed@12', 'deleted replaced@4', 'added replaced@14', 'deleted gone@3']);
    expect(server.asked.watch).toContain('20');
  });

  it('keeps frozen objects without managedFields', async () => {
    const { informer } = await observe(scripted([{ rv: '5', items: [widget('a', '3')] }], [[]]), 1);
    const cached = informer.lister.get({ namespace: 'a', name: 'a' });
    expect(cached?.metadata.managedFields).toBeUndefined();
    expect(Object.isFrozen(cached?.metadata)).toBe(true);
  });

  it('keeps its indexes right as objects change', async () => {
    const labelled = (rv: string, team: string): KubeObject => {
      const object = widget('a', rv);
      return { ...object, metadata: { ...object.metadata, labels: { team } } };
    };
    const server = scripted(
      [{ rv: '5', items: [labelled('3', 'red')] }],
      [[{ type: 'MODIFIED', object: labelled('6', 'blue') }]],
    );
    const { informer } = await observe(server, 2);
    informer.addIndex('team', (object) => [object.metadata.labels?.['team'] ?? '']);
    expect(informer.lister.byIndex('team', 'red')).toEqual([]);
    expect(informer.lister.byIndex('team', 'blue')).toHaveLength(1);
    expect(() => informer.lister.byIndex('colour', 'red')).toThrow('No index');
  });
});
