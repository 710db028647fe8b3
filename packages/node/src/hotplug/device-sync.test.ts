import type { VirtualMachineInstance } from '@slipway/api';
import { silentLogger } from '@slipway/runtime';
import { fakeClock } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { DeviceSync, type DeviceSyncDeps } from './device-sync.ts';

const plugging = (nodeName: string): VirtualMachineInstance => ({
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name: 'web', namespace: 'shop' } },
  spec: { domain: { devices: {} }, volumes: [{ name: 'data', dataVolume: { name: 'data', hotpluggable: true } }] },
  status: { phase: 'Running', nodeName, volumeStatus: [{ name: 'data', target: 'sda', phase: 'Ready', hotplugVolume: {} }] },
});

it('leaves the devices of a guest alone that is on its way to another node', async () => {
  let now = plugging('leaving');
  const asked: string[] = [];
  const over = new AbortController();
  const looked = new Promise<void>((resolve) => {
    const deps = {
      ...{ clock: fakeClock(), random: () => 0, log: silentLogger, instance: () => now },
      ...{ pod: () => ({ metadata: {} }), sandbox: { podUid: 'pod' }, volumes: {} },
      isLeaving: ({ status }: VirtualMachineInstance) => status?.nodeName === 'leaving',
      libvirt: () => {
        asked.push(now.status?.nodeName ?? '');
        resolve();
        return new Promise(() => {});
      },
    } as unknown as DeviceSyncDeps; // no more is asked before libvirt answers
    const sync = new DeviceSync(deps);
    sync.run(over.signal).catch(() => {});
    sync.notify();
    now = plugging('here');
    sync.notify();
  });
  await looked;
  expect(asked).toEqual(['here']);
  over.abort();
});
