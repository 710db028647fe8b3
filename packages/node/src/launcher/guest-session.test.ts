import { fakeClock } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import {
  DOMAIN_STATE,
  type DomainEvent,
  ERROR_CODE,
  LIFECYCLE,
  type LibvirtConnection,
  LibvirtError,
  STOPPED,
} from '../libvirt/index.ts';
import type { GuestEvent } from './guest-event.ts';
import { GuestSession } from './guest-session.ts';

const SHUTOFF_REASON = { unknown: 0, shutdown: 1, crashed: 3, failed: 6, daemon: 8 };
const NAME = 'default_vm';

/** One domain as libvirt knows it, and daemons that come and go while it stays. */
function world(domain?: { state: number; reason: number }) {
  const clock = fakeClock(0);
  const events: GuestEvent[] = [];
  const calls: string[] = [];
  let known = domain;
  let isAlive = true;
  let emit: (event: DomainEvent) => void = () => {};
  let dieNow = (): void => {};
  /** What the next call of this name does instead of its work. */
  const faults = new Map<string, () => Error>();

  const connect = async (onEvent: (event: DomainEvent) => void): Promise<LibvirtConnection> => {
    if (!isAlive) throw new Error('The sandbox has ended');
    let isDead = false;
    const closed = new Promise<void>((resolve) => {
      dieNow = () => {
        isDead = true;
        resolve();
      };
    });
    emit = onEvent;
    const act = async <T>(name: string, work: () => T): Promise<T> => {
      calls.push(name);
      if (isDead) throw new Error('The connection to libvirt was closed');
      const fault = faults.get(name);
      faults.delete(name);
      if (fault) throw fault();
      return work();
    };
    const need = () => {
      if (known === undefined) throw new LibvirtError('lookup', ERROR_CODE.noDomain, 'Domain not found');
      return known;
    };
    const refuseUnlessActive = () => {
      if (need().state === DOMAIN_STATE.shutoff)
        throw new LibvirtError('destroy', ERROR_CODE.operationInvalid, 'domain is not running');
    };
    const ref = { name: NAME, uuid: Buffer.alloc(16), id: 1 };
    const fake = {
      closed,
      close: () => dieNow(),
      lookup: () => act('lookup', () => (need(), ref)),
      state: () => act('state', () => need()),
      define: () => act('define', () => ((known ??= { state: DOMAIN_STATE.shutoff, reason: 0 }), ref)),
      create: () => act('create', () => ((known = { state: DOMAIN_STATE.running, reason: 1 }), ref)),
      destroy: () => act('destroy', refuseUnlessActive),
      shutdown: () => act('shutdown', refuseUnlessActive),
    };
    return fake as unknown as LibvirtConnection; // the calls that a session makes
  };

  const session = new GuestSession({
    ...{ clock, connect, isAlive: () => isAlive, onEvent: (event) => events.push(event) },
    sandbox: { podUid: 'p', uid: 1, netns: 'n', dir: '/nonexistent', init: { pid: 1, startTicks: 1 } },
    programs: {} as never, // only the real connection looks at them
    consoleLog: '/nonexistent',
  });
  return {
    ...{ session, events, calls, faults, clock },
    set: (next: typeof domain) => (known = next),
    emit: (event: DomainEvent) => emit(event),
    killDaemon: () => dieNow(),
    killSandbox: () => {
      isAlive = false;
      dieNow();
    },
  };
}

const running = { state: DOMAIN_STATE.running, reason: 1 };
const off = (reason: number) => ({ state: DOMAIN_STATE.shutoff, reason });
const ended = (phase: 'Succeeded' | 'Failed', reason: string) => ({ type: 'ended', phase, reason });

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe('a guest that its watchdog ends', () => {
  it.each([
    [3, { ...ended('Failed', 'its watchdog expired and switched it off'), statusReason: 'GuestWatchdogExpired' }],
    [2, ended('Failed', 'QEMU ended unexpectedly')], // it was only reset
  ])('by action %i', async (action, end) => {
    const { session, events, emit } = world();
    await session.start(NAME, '<domain/>', false);
    emit({ type: 'watchdog', domain: NAME, action });
    emit({ type: 'lifecycle', domain: NAME, event: LIFECYCLE.stopped, detail: STOPPED.failed });
    expect(events).toEqual([end]);
  });
});

describe('a guest that libvirt has lost sight of', () => {
  it('counts as destroyed when it is off already and libvirt never said so', async () => {
    const { session, set, events } = world(running);
    await session.find(NAME);
    set(off(SHUTOFF_REASON.daemon));
    await session.destroy();
    expect(events).toEqual([ended('Failed', 'while nobody watched')]);
  });

  it('is not ended by a refusal while it runs', async () => {
    const { session, faults, events } = world(running);
    await session.find(NAME);
    faults.set('shutdown', () => new LibvirtError('shutdown', 1, 'busy'));
    await expect(session.powerDown()).rejects.toThrow('busy');
    expect(events).toEqual([]);
  });

  it('is asked about again after its daemon was killed, because that finds out late and in silence', async () => {
    const { session, set, events, killDaemon, clock } = world();
    await session.start(NAME, '<domain/>', false);
    killDaemon();
    await settled();
    expect(events).toEqual([]);
    set(off(SHUTOFF_REASON.crashed));
    clock.advance(200);
    await settled();
    expect(events).toEqual([ended('Failed', 'while nobody watched')]);
  });

  it('is asked about again when an earlier agent had started it', async () => {
    const { session, set, events, clock } = world(running);
    expect(await session.find(NAME)).toEqual({ isActive: true, power: { type: 'resumed' } });
    set(off(SHUTOFF_REASON.unknown));
    await settled();
    clock.advance(200);
    await settled();
    expect(events).toEqual([ended('Failed', 'while nobody watched')]);
  });

  it('is told to be paused or not once its daemon is back', async () => {
    const { session, set, events, killDaemon } = world();
    await session.start(NAME, '<domain/>', false);
    set({ state: DOMAIN_STATE.paused, reason: 1 });
    killDaemon();
    await settled();
    expect(events).toEqual([{ type: 'paused', reason: 'PausedByUser' }]);
    expect(await session.find(NAME)).toEqual({ isActive: true, power: { type: 'paused', reason: 'PausedByUser' } });
  });

  it('has ended when the next daemon does not know it, or the sandbox is gone', async () => {
    const lost = world(running);
    await lost.session.find(NAME);
    lost.set(undefined);
    lost.killDaemon();
    await settled();
    expect(lost.events).toEqual([ended('Failed', 'libvirt lost it')]);

    const killed = world(running);
    await killed.session.find(NAME);
    killed.killSandbox();
    await settled();
    expect(killed.events).toEqual([ended('Failed', 'its sandbox was killed')]);
  });
});

describe('a start', () => {
  it.each([SHUTOFF_REASON.daemon, SHUTOFF_REASON.failed])(
    'that failed is no end of the guest (libvirt says reason %i)',
    async (reason) => {
      const { session, set, events, faults } = world();
      faults.set('create', () => new Error('The connection to libvirt was closed'));
      await expect(session.start(NAME, '<domain/>', false)).rejects.toThrow('closed');
      set(off(reason));
      expect(await session.find(NAME)).toMatchObject({ isActive: false });
      await session.start(NAME, '<domain/>', false);
      expect(events).toEqual([]);
    },
  );

  it('is found by the next attempt when it has worked after all', async () => {
    const { session, set, events, faults } = world();
    faults.set('create', () => new Error('The connection to libvirt was closed'));
    await expect(session.start(NAME, '<domain/>', false)).rejects.toThrow('closed');
    set(running);
    expect(await session.find(NAME)).toMatchObject({ isActive: true });
    expect(events).toEqual([]);
  });
});

describe('an agent that was away', () => {
  it.each([
    [off(SHUTOFF_REASON.shutdown), [ended('Succeeded', 'while nobody watched')]],
    [off(SHUTOFF_REASON.crashed), [ended('Failed', 'while nobody watched')]],
    // defined only, or its start failed: it is started by the next attempt
    [off(SHUTOFF_REASON.unknown), []],
    [off(SHUTOFF_REASON.failed), []],
    [{ state: DOMAIN_STATE.paused, reason: 1 }, []],
    [undefined, []],
  ])('finds %j', async (domain, expected) => {
    const { session, events } = world(domain);
    await session.find(NAME);
    expect(events).toEqual(expected);
  });
});

describe('events of libvirt', () => {
  const lifecycle = (event: number, detail: number): DomainEvent => ({ type: 'lifecycle', domain: NAME, event, detail });

  it.each([
    [lifecycle(LIFECYCLE.stopped, STOPPED.shutdown), ended('Succeeded', 'it shut down')],
    [lifecycle(LIFECYCLE.stopped, STOPPED.crashed), ended('Failed', 'QEMU ended unexpectedly')],
    [lifecycle(LIFECYCLE.stopped, STOPPED.destroyed), ended('Failed', 'it was destroyed')],
    [lifecycle(LIFECYCLE.crashed, 0), { ...ended('Failed', 'its kernel panicked'), statusReason: 'GuestPanicked' }],
    [lifecycle(LIFECYCLE.crashed, 1), ended('Failed', 'it crashed')],
    [lifecycle(LIFECYCLE.suspended, 0), { type: 'paused', reason: 'PausedByUser' }],
    [lifecycle(LIFECYCLE.suspended, 2), { type: 'paused', reason: 'PausedIOError' }],
    [lifecycle(LIFECYCLE.resumed, 0), { type: 'resumed' }],
    [
      { type: 'agent', domain: NAME, connected: true },
      { type: 'agent', connected: true },
    ],
  ] as const)('%j', async (event, expected) => {
    const { session, events, emit } = world(running);
    await session.find(NAME);
    emit(event);
    expect(events[0]).toMatchObject(expected);
  });

  it('are followed at a bounded rate, and people are told', async () => {
    const { session, events, emit, clock } = world(running);
    await session.find(NAME);
    for (let round = 0; round < 10_000; round++) {
      emit({ type: 'agent', domain: NAME, connected: round % 2 === 0 });
      emit(lifecycle(round % 2 === 0 ? LIFECYCLE.suspended : LIFECYCLE.resumed, 0));
      emit({ type: 'device-removal-failed', domain: NAME, alias: `a${round}` });
      emit({ type: 'reboot', domain: NAME });
    }
    emit(lifecycle(LIFECYCLE.stopped, STOPPED.crashed));
    expect(events.length).toBeLessThan(110);
    const troubles = events.flatMap((event) => (event.type === 'trouble' ? [event.reason] : []));
    expect(new Set(troubles)).toEqual(new Set(['GuestEventFlood', 'GuestResetLoop']));
    expect(events.at(-1)).toMatchObject({ type: 'ended', phase: 'Failed' });
    clock.advance(60_000);
    // the state that counts is the last one
    expect(events.filter(({ type }) => type === 'agent').at(-1)).toMatchObject({ connected: false });
    expect(events.filter(({ type }) => type === 'paused' || type === 'resumed').at(-1)).toEqual({ type: 'resumed' });
    expect(events.length).toBeLessThan(300);
    session.close();
  });

  it('of a daemon that ends every connection do not keep the agent busy', async () => {
    const { session, killDaemon, calls, clock } = world(running);
    await session.find(NAME);
    for (let round = 0; round < 50; round++) {
      killDaemon();
      await settled();
    }
    expect(calls.filter((name) => name === 'state').length).toBeLessThan(10);
    for (let round = 0; round < 5; round++) {
      clock.advance(30_000);
      await settled();
    }
    expect(await session.find(NAME)).toMatchObject({ isActive: true });
    session.close();
  });

  it('say the end once', async () => {
    const { session, events, emit, set } = world(running);
    await session.find(NAME);
    emit(lifecycle(LIFECYCLE.stopped, STOPPED.shutdown));
    set(off(SHUTOFF_REASON.shutdown));
    await session.find(NAME);
    emit(lifecycle(LIFECYCLE.stopped, STOPPED.crashed));
    expect(events).toEqual([ended('Succeeded', 'it shut down')]);
  });
});
