import { node, onNode, pod, pv, pvc, vmi } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { formatNodes, nodeRows } from './list-nodes.ts';
import { planDrain } from './plan-drain.ts';

const owned = (name: string, kind: string, labels: Record<string, string> = {}, more: object = {}) =>
  pod(name, {
    metadata: {
      ...{ name, namespace: 'default', uid: name, labels },
      ownerReferences: [{ apiVersion: 'v1', kind, name: name.replace('launcher-', ''), uid: `of-${name}`, controller: true }],
    },
    spec: {
      nodeName: 'box-1',
      containers: [{ name: 'main', image: 'x', resources: { requests: { memory: '1Gi', cpu: '100m' } } }],
    },
    ...more,
  }).object;
const guest = (name: string, spec: object, isMigratable: boolean) => ({
  launcher: owned(`launcher-${name}`, 'VirtualMachineInstance', { 'kubevirt.io': 'virt-launcher' }),
  instance: vmi(name, {
    metadata: {
      ...{ name, namespace: 'default', uid: `of-launcher-${name}` },
      ownerReferences: [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name, uid: name, controller: true }],
    },
    spec,
    status: {
      conditions: [
        { type: 'LiveMigratable', status: isMigratable ? 'True' : 'False', reason: 'DisksNotLiveMigratable', message: 'local' },
      ],
    },
  }).object,
});

describe('drain', () => {
  it('says what becomes of each pod, and leaves those that stay', () => {
    const guests = [
      guest('moving', { evictionStrategy: 'LiveMigrate' }, true),
      guest('stuck', { evictionStrategy: 'LiveMigrate' }, false),
      guest(
        'maybe',
        { evictionStrategy: 'LiveMigrateIfPossible', volumes: [{ name: 'd', dataVolume: { name: 'disk' } }] },
        false,
      ),
      guest('plain', {}, true),
      guest('external', { evictionStrategy: 'External' }, true),
    ];
    const plan = planDrain({
      nodeName: 'box-1',
      pods: [
        ...guests.map(({ launcher }) => launcher),
        owned('importer', 'PersistentVolumeClaim'),
        owned('daemon', 'DaemonSet'),
        owned('hp-volume', 'Pod', { 'kubevirt.io': 'hotplug-disk' }),
        owned('done', 'Job', {}, { status: { phase: 'Succeeded' } }),
        pod('elsewhere', { spec: { nodeName: 'box-2' } }).object,
      ],
      vmis: guests.map(({ instance }) => instance),
      claims: [pvc('disk', { spec: { volumeName: 'volume' } }).object],
      volumes: [pv('volume', { spec: { nodeAffinity: onNode('box-1') } }).object],
      evictionStrategy: undefined,
    });
    expect(plan.map(({ title, outcome, note }) => `${title} ${outcome}: ${note}`)).toEqual([
      'VM default/external blocks: eviction strategy External: somebody else has to move it',
      'VM default/maybe stops: it is shut down, and can only start on box-1 again: disk disk is there',
      'VM default/moving moves: by live migration',
      'VM default/plain stops: it is shut down and started elsewhere, if its run strategy says so',
      'VM default/stuck blocks: it cannot be migrated (DisksNotLiveMigratable: local); stop it, or leave it',
      'pod default/importer goes: its PersistentVolumeClaim makes another one',
    ]);
  });
});

describe('node list', () => {
  it('shows what nodes carry', () => {
    const nodes = [
      node('box-2', { spec: { unschedulable: true, taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } }).object,
      node('box-1', { metadata: { name: 'box-1', annotations: { 'slipway.dev/fencing': 'armed' } } }).object,
    ];
    const { launcher } = guest('one', {}, true);
    expect(`\n${formatNodes(nodeRows(nodes, [launcher], 0))}\n`).toMatchInlineSnapshot(`
      "
      NAME    STATUS                     GUESTS   CPU     MEMORY        FENCING   VERSION   AGE         TAINTS
      box-1   Ready                      1        0.1/4   1.0Gi/8.0Gi   armed               <unknown>   -
      box-2   Ready,SchedulingDisabled   0        0/4     0.0Gi/8.0Gi   -                   <unknown>   k=v:NoSchedule
      "
    `);
  });
});
