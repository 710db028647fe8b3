import { conflict, controllerReference, keyString, type ObjectKey, TerminalError } from '@slipway/apimachinery';
import { ConfigMapKind, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { built, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import type { Controller, ControllerDeps, ControllerRegistration } from './controller.ts';
import { systemClock } from './clock.ts';
import { owned } from './controller.ts';
import { ControllerManager } from './controller-manager.ts';
import { silentLogger } from './logger.ts';
import { after, done, type Result } from './reconciler.ts';

let world: TestWorld | undefined;
afterEach(() => world?.close());

type Reconcile = (key: ObjectKey, deps: ControllerDeps) => Promise<Result> | Result;

function controller(reconcile: Reconcile, more: Partial<Controller> = {}): ControllerRegistration {
  return {
    name: 'test-controller',
    create: (deps) => ({ kind: ConfigMapKind, ...more, reconciler: { reconcile: async (key) => reconcile(key, deps) } }),
  };
}

function managerWith(client: Client): ControllerManager {
  const unreachable = async (): Promise<never> => {
    throw new Error('no node is asked here');
  };
  return new ControllerManager({
    clientFor: () => client,
    clock: systemClock,
    log: silentLogger,
    random: Math.random,
    uid: () => 'uid',
    nodes: { call: unreachable, open: unreachable },
    settings: { installNamespace: '', osImagesNamespace: '', caBundle: '', version: '' },
    host: 'node1',
  });
}

describe('ControllerManager', () => {
  it('reconciles what exists, and the owner of what it owns', async () => {
    const seen: string[] = [];
    const note = (key: ObjectKey): Result => {
      seen.push(keyString(key));
      return done;
    };
    world = await testWorld({ controllers: [controller(note, { watches: [owned(PodKind, ConfigMapKind)] })] }).with(
      built(ConfigMapKind, 'a/one'),
    );
    await world.settle();
    expect(seen).toEqual(['a/one']);
    const owner = await world.get(ConfigMapKind, 'a/one');
    const ownerReferences = [controllerReference(owner, ConfigMapKind)];
    await world.with(pod('a/child', { metadata: { name: 'child', namespace: 'a', ownerReferences } }), pod('a/stranger'));
    await world.settle();
    expect(new Set(seen.slice(1))).toEqual(new Set(['a/one']));
    expect(seen.length).toBeGreaterThan(1);
  });

  it('settles only when writes of reconcilers have come back as events', async () => {
    const step: Reconcile = async (key, { client, informers }) => {
      const object = informers.lister(ConfigMapKind).get(key);
      const value = Number(object?.data?.['n'] ?? 0);
      if (object && value < 5) await client.update(ConfigMapKind, { ...object, data: { n: String(value + 1) } });
      return done;
    };
    world = await testWorld({ controllers: [controller(step)] }).with(built(ConfigMapKind, 'a/one'));
    await world.settle();
    expect((await world.get(ConfigMapKind, 'a/one')).data).toEqual({ n: '5' });
  });

  it('retries failures, but not terminal ones', async () => {
    const attempts: Record<string, number> = {};
    const fail: Reconcile = ({ name }) => {
      attempts[name] = (attempts[name] ?? 0) + 1;
      if (name === 'terminal') throw new TerminalError('Invalid', 'never works');
      if (attempts[name] < 3) throw conflict({ resource: 'configmaps', group: '' }, name, 'changed');
      return done;
    };
    world = await testWorld({ controllers: [controller(fail)] }).with(
      built(ConfigMapKind, 'a/terminal'),
      built(ConfigMapKind, 'a/flaky'),
    );
    await world.settle();
    expect(attempts).toEqual({ terminal: 1, flaky: 3 });
  });

  it('comes back after the time a reconciler asked for, not before', async () => {
    let count = 0;
    const later: Reconcile = () => (++count < 3 ? after(60_000) : done);
    world = await testWorld({ controllers: [controller(later)] }).with(built(ConfigMapKind, 'a/one'));
    await world.settle();
    expect(count).toBe(1);
    await world.advance(59_000);
    expect(count).toBe(1);
    await world.advance(1_000);
    expect(count).toBe(2);
  });

  it('makes first objects until it succeeds, and only then says that they are there', async () => {
    world = testWorld({ controllers: [] });
    const stop = new AbortController();
    let attempts = 0;
    const manager = managerWith(world.client);
    manager.register({
      name: 'installer',
      create: ({ client }) => ({
        async install(signal) {
          if (++attempts === 1) throw new Error('not yet');
          await client.create(ConfigMapKind, built(ConfigMapKind, 'a/first').object, { signal });
        },
      }),
    });
    manager.start(stop.signal);
    try {
      await manager.installed();
      expect(attempts).toBe(2);
      expect(await world.exists(ConfigMapKind, 'a/first')).toBe(true);
    } finally {
      stop.abort();
      await manager.stopped();
    }
  });

  it('names the node that its controllers act for as the source of events', async () => {
    world = await testWorld({ controllers: [] }).with(built(ConfigMapKind, 'a/one'));
    const about = await world.get(ConfigMapKind, 'a/one');
    const { client } = world;
    const event = await new Promise((resolve) => {
      const manager = managerWith({
        ...client,
        async create(_kind, object) {
          resolve(object);
          return object;
        },
      });
      manager.register({
        name: 'talker',
        create(deps) {
          deps.events.normal(about, 'Tested', 'text');
          return { reconciler: { reconcile: async () => done } };
        },
      });
    });
    expect(event).toMatchObject({ reason: 'Tested', source: { component: 'talker', host: 'node1' } });
  });

  it('counts equal events instead of repeating them, and bounds how many one object causes', async () => {
    const talk: Reconcile = (key, { events, informers }) => {
      const object = informers.lister(ConfigMapKind).get(key);
      if (!object) return done;
      for (let index = 0; index < 3; index++) events.normal(object, 'Same', 'same text');
      for (let index = 0; index < 100; index++) events.warning(object, 'Different', `text ${index}`);
      return done;
    };
    const about = built(ConfigMapKind, 'a/one');
    world = await testWorld({ controllers: [controller(talk)] }).with(about);
    await world.settle();
    const events = await world.events(about);
    expect(events[0]).toBe('Normal Same same text');
    expect(events).toHaveLength(1 + 22); // 25 in all: three of the first, which are one object
  });
});
