import type { VirtualMachineInstance } from '@slipway/api';
import { fakeClock } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { type FreezableGuest, FreezeTimers } from './freeze-timers.ts';

function world() {
  const clock = fakeClock(0);
  const calls: string[] = [];
  let vmi: VirtualMachineInstance = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: 'vm', namespace: 'default', uid: 'u' },
    spec: { domain: { devices: {} } },
    status: { phase: 'Running' },
  };
  const guest: FreezableGuest = {
    name: 'u',
    freeze: async () => calls.push('freeze'),
    thaw: async () => calls.push('thaw'),
    update: async (change) => {
      vmi = change(vmi);
    },
  };
  return { clock, calls, guest, timers: new FreezeTimers(clock), vmi: () => vmi };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('freezing a guest', () => {
  it('says so in the status and thaws by itself when the time is over', async () => {
    const { clock, calls, guest, timers, vmi } = world();
    await timers.freeze(guest, 5);
    expect(vmi().status).toEqual({ phase: 'Running', fsFreezeStatus: 'frozen' });
    clock.advance(4_999);
    await settled();
    expect(calls).toEqual(['freeze']);
    clock.advance(1);
    await settled();
    expect(calls).toEqual(['freeze', 'thaw']);
    expect(vmi().status).toEqual({ phase: 'Running' });
  });

  it('does not thaw again what was thawed by hand, nor ever with a time of zero', async () => {
    const { clock, calls, guest, timers } = world();
    await timers.freeze(guest, 5);
    await timers.thaw(guest);
    await timers.freeze(guest, 0);
    clock.advance(3_600_000);
    await settled();
    expect(calls).toEqual(['freeze', 'thaw', 'freeze']);
  });

  it('thaws a guest that an earlier agent has frozen', async () => {
    const { clock, calls, guest, vmi } = world();
    const before = new FreezeTimers(fakeClock(0));
    await before.freeze(guest, 600);
    new FreezeTimers(clock).adopt(guest, vmi());
    clock.advance(300_000);
    await settled();
    expect(calls).toEqual(['freeze', 'thaw']);
  });
});
