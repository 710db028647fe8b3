import { PassThrough } from 'node:stream';
import { NodeVerb } from '@slipway/api';
import { fakeClock } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { DOMAIN_STATE } from '../libvirt/index.ts';
import { FreezeTimers } from './freeze-timers.ts';
import type { Launch } from './launch.ts';
import { launcherHandlers } from './node-verbs.ts';

const signal = new AbortController().signal;
const domain = { name: 'default_vm', uuid: Buffer.alloc(16), id: 1 };

interface WorldOptions {
  readonly isStarted?: boolean;
  readonly hasConsoles?: boolean;
  readonly agentFails?: boolean;
  /** Resuming fails, and this is why. */
  readonly isRunning?: boolean;
}

/** A guest whose libvirt notes what it is asked. */
function world({ isStarted = true, hasConsoles = true, agentFails = false, isRunning }: WorldOptions = {}) {
  const calls: string[] = [];
  const note = (name: string) => async () => {
    calls.push(name);
  };
  const libvirt = {
    state: async () => ({ state: isRunning ? DOMAIN_STATE.running : DOMAIN_STATE.paused, reason: 0 }),
    ...{ suspend: note('suspend'), reset: note('reset') },
    resume: async () => {
      calls.push('resume');
      if (isRunning !== undefined) throw new Error('cannot resume');
    },
    reboot: async (_domain: unknown, by: string) => {
      calls.push(`reboot by ${by}`);
      if (by === 'agent' && agentFails) throw new Error('no agent');
    },
    screenshot: async () => ({ mime: 'image/png', image: Buffer.from('picture') }),
  };
  const console = { attach: () => new PassThrough() };
  const session = {
    libvirt: async () => libvirt,
    domain: async () => domain,
    ...(hasConsoles && { console, vnc: { open: () => new PassThrough() } }),
  };
  const found: unknown[] = [];
  const launch = { addresses: [], ...(isStarted && { session }) } as unknown as Launch; // what the verbs look at
  const handlers = launcherHandlers({
    freezes: new FreezeTimers(fakeClock()),
    find: (...key) => {
      found.push(key);
      return launch;
    },
  });
  const params = { namespace: 'default', name: 'vm', uid: 'u' };
  return {
    ...{ calls, found },
    call: (verb: string) => handlers.call({ verb, params }, signal),
    open: (verb: string, more: object = {}) => handlers.open({ verb, params: { ...params, ...more } }, signal),
  };
}

describe('calls about a guest', () => {
  it.each([
    [NodeVerb.pause, ['suspend']],
    [NodeVerb.unpause, ['resume']],
    [NodeVerb.reset, ['reset']],
    [NodeVerb.softreboot, ['reboot by agent']],
  ])('%s', async (verb, expected) => {
    const { call, calls, found } = world();
    expect(await call(verb)).toEqual({});
    expect(calls).toEqual(expected);
    expect(found).toEqual([['default', 'vm', 'u']]);
  });

  it('say of a guest that goes on already that it is not paused', async () => {
    await expect(world({ isRunning: true }).call(NodeVerb.unpause)).rejects.toMatchObject({
      ...{ code: 409, message: 'VMI is not paused' },
    });
    await expect(world({ isRunning: false }).call(NodeVerb.unpause)).rejects.toThrow('cannot resume');
  });

  it('press the power button of a guest without an agent to restart it', async () => {
    const { call, calls } = world({ agentFails: true });
    await call(NodeVerb.softreboot);
    expect(calls).toEqual(['reboot by agent', 'reboot by acpi']);
  });

  it('bring its screen as text', async () => {
    expect(await world().call(NodeVerb.vncScreenshot)).toEqual({ png: Buffer.from('picture').toString('base64') });
  });

  it('are refused while it has not started, and when nobody knows them', async () => {
    await expect(world({ isStarted: false }).call(NodeVerb.pause)).rejects.toMatchObject({ code: 409 });
    await expect(world().call('levitate')).rejects.toMatchObject({ code: 400 });
  });
});

describe('streams of a guest', () => {
  it.each([NodeVerb.console, NodeVerb.vnc])('%s opens', async (verb) => {
    const stream = await world().open(verb);
    expect(stream.writable).toBe(true);
    stream.destroy();
  });

  it.each([
    [NodeVerb.console, {}],
    [NodeVerb.vnc, {}],
    [NodeVerb.portforward, { port: 22 }],
  ])('%s is refused while there is none', async (verb, more) => {
    const { open } = world({ hasConsoles: false });
    await expect(open(verb, more)).rejects.toMatchObject({ code: 409 });
  });

  it('are refused when nobody knows them', async () => {
    await expect(world().open('smoke')).rejects.toMatchObject({ code: 400 });
  });
});
