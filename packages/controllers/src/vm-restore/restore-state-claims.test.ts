import type { kubevirt } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import type { VmSnapshotContent } from '../vm-snapshot/snapshot-state.ts';
import { planRestores, stateMarks, type VmRestore } from './restore-plan.ts';

const MEMORY = {
  vmiUid: 'first',
  spec: { domain: { devices: {} }, volumes: [{ name: 'root', persistentVolumeClaim: { claimName: 'disk' } }] },
};

const backup = (volumeName: string, metadata: object = {}): kubevirt.VolumeBackup => ({
  volumeName,
  volumeSnapshotName: `snap-${volumeName}`,
  persistentVolumeClaim: { metadata: { name: volumeName, ...metadata }, spec: {} },
});

const memory = backup('web-memory-state', { annotations: { 'slipway.dev/memory-state': JSON.stringify(MEMORY) } });
const firmware = backup('persistent-state-for-web-12345', { labels: { 'persistent-state-for': 'web' } });

const content: VmSnapshotContent = {
  apiVersion: 'snapshot.kubevirt.io/v1beta1',
  kind: 'VirtualMachineSnapshotContent',
  metadata: { name: 'content' },
  spec: {
    source: { virtualMachine: { metadata: { name: 'web' }, spec: { template: {} } } },
    volumeBackups: [backup('root'), firmware, memory],
  },
};

const restoreTo = (name: string): VmRestore => ({
  apiVersion: 'snapshot.kubevirt.io/v1beta1',
  kind: 'VirtualMachineRestore',
  metadata: { name: 'back', uid: 'u' },
  spec: { target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name }, virtualMachineSnapshotName: 'snap' },
});

describe('a restore of claims that no volume names', () => {
  it.each([
    ['web', ['root', 'persistent-state-for-web-12345', 'web-memory-state']],
    ['copy', ['root', 'persistent-state-for-web-12345']],
  ])('into %s holds %j', (target, expected) => {
    expect(planRestores(restoreTo(target), content).map(({ volumeName }) => volumeName)).toEqual(expected);
  });

  it('lets the memory use the restored disks', () => {
    const restores = planRestores(restoreTo('web'), content);
    const { annotations } = stateMarks('web', memory, restores);
    expect(JSON.parse(annotations['slipway.dev/memory-state'] ?? '')).toEqual({
      ...MEMORY,
      spec: { ...MEMORY.spec, volumes: [{ name: 'root', persistentVolumeClaim: { claimName: 'restore-u-root' } }] },
    });
  });

  it('gives firmware state to the VM that is made', () => {
    expect(stateMarks('copy', firmware, [])).toEqual({ labels: { 'persistent-state-for': 'copy' }, annotations: {} });
    expect(stateMarks('copy', backup('root'), [])).toEqual({ labels: {}, annotations: {} });
  });
});
