import type { Node, Pod, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { planInstance } from './instance-plan.ts';
import { currentPod } from './launcher-pod-state.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');

function guest(nodeName: string, migrationState: object = {}, status: object = {}): VirtualMachineInstance {
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: 'web', namespace: 'default', uid: 'vmi' },
    spec: { domain: { devices: {} } },
    status: {
      ...{ phase: 'Running', nodeName, conditions: [{ type: 'Ready', status: 'True' }] },
      migrationState: { sourcePod: 'on-a', targetPod: 'on-b', sourceNode: 'a', targetNode: 'b', ...migrationState },
      ...status,
    },
  };
}

function pod(node: string, phase = 'Running', labels: Record<string, string> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...{ name: `on-${node}`, uid: `uid-${node}`, namespace: 'default', creationTimestamp: '2026-05-01T11:00:00Z' },
      labels: { 'kubevirt.io': 'virt-launcher', ...labels },
    },
    spec: { nodeName: node, containers: [] },
    status: { phase, conditions: [{ type: 'Ready', status: phase === 'Running' ? 'True' : 'False' }] },
  };
}
const source = (phase?: string): Pod => pod('a', phase);
const target = (phase?: string): Pod => pod('b', phase, { 'kubevirt.io/migrationJobUID': 'job' });
const LOST = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'a' },
  status: { conditions: [{ type: 'Ready', status: 'Unknown' }] },
};

const plan = (vmi: VirtualMachineInstance, pods: Pod[], node?: object) =>
  planInstance({
    ...{ vmi, pods, node: node as Node | undefined, storage: { claims: new Map(), dataVolumes: new Map() } }, // only its readiness is read
    ...{ hasOwnerVm: true, nowMs: NOW },
  });

describe('an instance with two launcher pods', () => {
  it.each<[string, VirtualMachineInstance, Pod[], string, string[]]>([
    ['runs at its source while memory is copied', guest('a'), [source(), target()], 'Running', []],
    ['runs on when the source has given the guest away', guest('a'), [source('Succeeded'), target()], 'Running', []],
    [
      'runs at its target afterwards, and drops the other pod',
      guest('b', { completed: true }),
      [source('Succeeded'), target()],
      'Running',
      ['on-a'],
    ],
    [
      'drops a target that has failed',
      guest('a', { completed: true, failed: true }),
      [source(), target('Failed')],
      'Running',
      ['on-b'],
    ],
    [
      'has failed when the guest was given to a pod that has ended',
      guest('a'),
      [source('Succeeded'), target('Failed')],
      'Failed',
      [],
    ],
    [
      'has failed when the guest was given to a pod that is gone',
      guest('a', { completed: true, failed: true }),
      [source('Succeeded')],
      'Failed',
      [],
    ],
    ['has failed when its pod is gone, whatever else there is', guest('a'), [target()], 'Failed', []],
  ])('%s', (_, vmi, pods, phase, deleted) => {
    const { update, deletePods, createPod } = plan(vmi, pods);
    expect(update?.status?.phase ?? vmi.status?.phase).toBe(phase);
    expect(deletePods.map(({ metadata }) => metadata.name)).toEqual(deleted);
    expect(createPod).toBe(false);
  });

  it('stays ready in the moment in which no pod has the guest', () => {
    const { update } = plan(guest('a'), [source('Succeeded'), target()]);
    expect((update ?? guest('a')).status?.conditions).toContainEqual({ type: 'Ready', status: 'True' });
  });

  it('says that its node is lost although the target waits', () => {
    expect(plan(guest('a'), [target()], LOST)).toMatchObject({
      isNodeLost: true,
      update: { status: { phase: 'Failed', reason: 'NodeUnresponsive' } },
    });
  });

  it('is in the pod that runs when it has come back to a node', () => {
    const old = { ...pod('a', 'Succeeded'), metadata: { ...pod('a').metadata, uid: 'old' } };
    expect(currentPod(guest('a'), [old, source()])?.metadata.uid).toBe('uid-a');
    expect(currentPod(guest('c'), [old, target()])).toBeUndefined();
  });

  it('is no longer asked to leave a node that it has left', () => {
    const asked = guest('b', { completed: true }, { evacuationNodeName: 'a' });
    expect(plan(asked, [target()]).update?.status).not.toHaveProperty('evacuationNodeName');
    const staying = guest('a', {}, { evacuationNodeName: 'a' });
    expect(plan(staying, [source(), target()]).update?.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'EvictionRequested', status: 'True' }),
    );
  });
});
