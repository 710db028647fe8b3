import type { VirtualMachineInstanceMigration } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { hasSlot } from './migration-queue.ts';

let age = 0;
/** `guest@node`, in the order in which they were made. */
function job(guest: string, phase: string, priority?: string): VirtualMachineInstanceMigration {
  age += 1;
  const creationTimestamp = new Date(Date.UTC(2026, 4, 1, 12, 0, age)).toISOString();
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstanceMigration',
    metadata: { name: guest, namespace: 'default', uid: guest, creationTimestamp },
    spec: { vmiName: guest, ...(priority !== undefined && { priority }) },
    status: { phase },
  };
}
const nodeOf = ({ spec }: VirtualMachineInstanceMigration): string | undefined => spec.vmiName?.split('@')[1];
const begins = (all: readonly VirtualMachineInstanceMigration[], perCluster = 5, perNode = 2): string[] =>
  all
    .filter((one) => one.status?.phase === 'Pending')
    .filter((one) =>
      hasSlot(one, all, nodeOf, { parallelMigrationsPerCluster: perCluster, parallelOutboundMigrationsPerNode: perNode }),
    )
    .map(({ metadata }) => metadata.name ?? '');

describe('hasSlot', () => {
  it.each<[string, VirtualMachineInstanceMigration[], string[], number?, number?]>([
    ['everything when there is room', [job('a@x', 'Pending'), job('b@y', 'Pending')], ['a@x', 'b@y']],
    ['no more than the cluster may have', [job('a@x', 'Running'), job('b@y', 'Pending'), job('c@z', 'Pending')], ['b@y'], 2],
    ['no more than may leave a node', [job('a@x', 'Scheduling'), job('b@x', 'Pending'), job('c@x', 'Pending')], ['b@x']],
    [
      'what comes after one whose node is busy',
      [job('a@x', 'Running'), job('b@x', 'Pending'), job('c@y', 'Pending')],
      ['c@y'],
      5,
      1,
    ],
    ['the urgent one first', [job('a@x', 'Pending'), job('b@y', 'Pending', 'system-critical')], ['b@y'], 1],
    ['maintenance last', [job('a@x', 'Pending', 'system-maintenance'), job('b@y', 'Pending')], ['b@y'], 1],
    [
      'as if those that are over were not there',
      [job('a@x', 'Succeeded'), job('b@x', 'Failed'), job('c@x', 'Pending')],
      ['c@x'],
      1,
      1,
    ],
    ['none for a guest that runs nowhere, and others instead', [job('a', 'Pending'), job('b@y', 'Pending')], ['b@y'], 1],
    ['nothing when nothing may move', [job('a@x', 'Pending')], [], 0],
  ])('lets begin %s', (_, all, expected, perCluster, perNode) => {
    expect(begins(all, perCluster, perNode)).toEqual(expected);
  });
});
