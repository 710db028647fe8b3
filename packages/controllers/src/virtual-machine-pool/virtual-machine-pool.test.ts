import {
  ControllerRevisionKind,
  DataVolumeKind,
  HorizontalPodAutoscalerKind,
  type kubevirt,
  type VirtualMachine,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachinePoolKind,
} from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { horizontalPodAutoscalerController } from '../horizontal-pod-autoscaler/index.ts';
import { virtualMachinePoolController } from './index.ts';
import { freeIndexes, memberSpec } from './pool-member.ts';
import { GROUP_QUIET_START_MS } from '../workload/quiet-start.ts';
import { durationMs, type Member, planPool } from './pool-plan.ts';

type Pool = kubevirt.VirtualMachinePool;

let world: TestWorld;
const KEY = { namespace: 'default', name: 'web' };
const template = (more: object = {}, guest: object = {}) => ({
  metadata: { labels: { app: 'web' } },
  spec: { runStrategy: 'Always', ...more, template: { spec: { domain: { devices: {} }, ...guest } } },
});
const pool = (spec: object = {}) =>
  built(VirtualMachinePoolKind, 'default/web', {
    spec: { selector: { matchLabels: { app: 'web' } }, virtualMachineTemplate: template(), ...spec },
  });

beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [virtualMachinePoolController, horizontalPodAutoscalerController] });
});
afterEach(() => world.close());

/** The first status of a group waits a moment. */
async function settleNew(): Promise<void> {
  await world.settle();
  await world.advance(GROUP_QUIET_START_MS);
}

const machines = async () => world.list(VirtualMachineKind);
const names = async () => (await machines()).map(({ metadata }) => metadata.name ?? '').toSorted((a, b) => a.localeCompare(b));
const change = async (spec: object): Promise<void> => {
  await world.client.patch(VirtualMachinePoolKind, KEY, { spec }, { type: 'merge' });
  await world.settle();
};
const status = async () => (await world.get(VirtualMachinePoolKind, KEY)).status;
const revisions = async () => (await world.list(ControllerRevisionKind)).map(({ metadata }) => metadata.name);

/** Gives a VM a running instance from its present template. */
async function run(name: string): Promise<void> {
  const vm = await world.get(VirtualMachineKind, `default/${name}`);
  await world.client.create(VirtualMachineInstanceKind, {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name, namespace: 'default', labels: { ...vm.spec.template.metadata?.labels } as Record<string, string> }, // text in the API
    spec: { domain: { devices: {} } },
    status: { phase: 'Running' },
  });
  await world.client.update(VirtualMachineKind, { ...vm, status: { ready: true, created: true } }, { subresource: 'status' });
  await world.settle();
}

describe('VirtualMachinePool', () => {
  it('leaves a new one alone for a moment, so that its author can go on with what he got back', async () => {
    const { object } = pool({ replicas: 3 });
    const created = await world.client.create(VirtualMachinePoolKind, object);
    await world.settle();
    const updated = await world.client.update(VirtualMachinePoolKind, { ...created, spec: { ...created.spec, replicas: 4 } });
    await settleNew();
    expect(updated.metadata.generation).toBe(2);
    expect((await status())?.replicas).toBe(4);
  });

  it('fills the lowest free numbers and reports itself', async () => {
    await world.with(pool({ replicas: 3 }));
    await settleNew();
    expect(await names()).toEqual(['web-0', 'web-1', 'web-2']);
    expect(await status()).toEqual({ replicas: 3, readyReplicas: 0, labelSelector: 'app=web' });
    await world.client.delete(VirtualMachineKind, { namespace: 'default', name: 'web-1' });
    await world.settle();
    expect(await names()).toEqual(['web-0', 'web-1', 'web-2']);
    expect(await revisions()).toEqual(['web-1']);
  });

  it('lets a VM go whose labels no longer match, and takes another one', async () => {
    await world.with(pool({ replicas: 1 }));
    await settleNew();
    const labels = { metadata: { labels: { app: 'kept-for-inspection' } } };
    await world.client.patch(VirtualMachineKind, { namespace: 'default', name: 'web-0' }, labels, { type: 'merge' });
    await world.settle();
    expect(await names()).toEqual(['web-0', 'web-1']);
    expect((await world.get(VirtualMachineKind, 'default/web-0')).metadata.ownerReferences ?? []).toEqual([]);
    expect((await status())?.replicas).toBe(1);
  });

  it('is scaled by an autoscaler', async () => {
    const scaleTargetRef = { apiVersion: 'pool.kubevirt.io/v1beta1', kind: 'VirtualMachinePool', name: 'web' };
    await world.with(
      pool({ replicas: 1 }),
      built(HorizontalPodAutoscalerKind, 'default/web', { spec: { scaleTargetRef, minReplicas: 2, maxReplicas: 3 } }),
    );
    await world.settle();
    expect(await names()).toEqual(['web-0', 'web-1']);
  });

  it('shrinks in the order asked for, and keeps the template record while only its size changes', async () => {
    await world.with(
      pool({ replicas: 3, scaleInStrategy: { proactive: { selectionPolicy: { sortPolicy: 'DescendingOrder' } } } }),
    );
    await world.settle();
    await change({ replicas: 1 });
    expect(await names()).toEqual(['web-0']);
    expect(await revisions()).toEqual(['web-1']);
  });

  it('lets go of nothing while scale-in is unmanaged, and of stopped VMs alone while it is opportunistic', async () => {
    await world.with(pool({ replicas: 2, scaleInStrategy: { unmanaged: {} } }));
    await settleNew();
    await change({ replicas: 1 });
    expect(await names()).toHaveLength(2);
    await run('web-0');
    await change({ scaleInStrategy: { unmanaged: null, opportunistic: {} } });
    expect(await names()).toEqual(['web-0']);
  });

  it('keeps the disks of a VM that goes, when that is asked for', async () => {
    const dataVolumeTemplates = [{ metadata: { name: 'data' }, spec: { source: { blank: {} }, storage: {} } }];
    const volumes = [{ name: 'd', dataVolume: { name: 'data' } }];
    await world.with(
      pool({
        virtualMachineTemplate: template({ dataVolumeTemplates }, { volumes }),
        scaleInStrategy: { proactive: { statePreservation: 'Offline' } },
      }),
    );
    await world.settle();
    const vm = await world.get(VirtualMachineKind, 'default/web-0');
    expect(vm.spec.template.spec?.volumes?.[0]?.dataVolume?.name).toBe('data-0');
    await world.with(
      built(DataVolumeKind, 'default/data-0', {
        metadata: {
          ownerReferences: [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: 'web-0', uid: vm.metadata.uid ?? '' }],
        },
        spec: { source: { blank: {} }, storage: {} },
      }),
    );
    await world.settle();
    await change({ replicas: 0 });
    expect(await names()).toEqual([]);
    expect((await world.get(DataVolumeKind, 'default/data-0')).metadata.ownerReferences).toBeUndefined();
  });

  it('brings its VMs to a new template and restarts guests that differ', async () => {
    await world.with(pool());
    await settleNew();
    await run('web-0');
    await change({ virtualMachineTemplate: { spec: { template: { spec: { hostname: 'shop' } } } } });
    const vm = await world.get(VirtualMachineKind, 'default/web-0');
    expect(vm.spec.template.spec?.hostname).toBe('shop');
    expect(vm.metadata.labels?.['kubevirt.io/vm-pool-revision-name']).toBe('web-2');
    expect(vm.status?.stateChangeRequests?.map(({ action }) => action)).toEqual(['Stop', 'Start']);
  });

  it('leaves running guests alone while updates are opportunistic', async () => {
    await world.with(pool({ updateStrategy: { opportunistic: {} } }));
    await settleNew();
    await run('web-0');
    await change({ virtualMachineTemplate: { spec: { template: { spec: { hostname: 'shop' } } } } });
    const vm = await world.get(VirtualMachineKind, 'default/web-0');
    expect(vm.spec.template.spec?.hostname).toBe('shop');
    expect(vm.status?.stateChangeRequests).toBeUndefined();
  });

  it('does nothing while paused, and says so', async () => {
    await world.with(pool({ replicas: 2, paused: true }));
    await settleNew();
    expect(await names()).toEqual([]);
    expect((await status())?.conditions?.map(({ type }) => type)).toEqual(['ReplicaPaused']);
    await change({ paused: false });
    expect(await names()).toHaveLength(2);
  });
});

const plain = (spec: Partial<Pool['spec']>): Pool =>
  ({
    apiVersion: 'pool.kubevirt.io/v1beta1',
    kind: 'VirtualMachinePool',
    metadata: { name: 'web', namespace: 'default', uid: 'u' },
    spec: { selector: {}, virtualMachineTemplate: template(), ...spec },
  }) as Pool; // the template's strategy is plain text here

const member = (index: number, more: Partial<VirtualMachine> = {}): Member => ({
  vm: {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: `web-${index}`, labels: { 'kubevirt.io/vm-pool-revision-name': 'new' } },
    spec: { template: { spec: { domain: { devices: {} } } } },
    ...more,
  },
  vmi: {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: `web-${index}`, labels: { 'kubevirt.io/vm-pool-revision-name': 'old' } },
    spec: { domain: { devices: {} } },
    status: { phase: 'Running' },
  },
  node: undefined,
});

const plan = (of: Pool, members: readonly Member[], nowMs = 0) =>
  planPool({ pool: of, members, revision: 'new', isGuestOutdated: (name) => name === 'old', nowMs, random: () => 0.5 });

describe('the plan of a pool', () => {
  it('restarts no more guests at once than may be missing', () => {
    const ready = [0, 1, 2, 3].map((index) => member(index, { status: { ready: true } }));
    expect(plan(plain({ replicas: 4, maxUnavailable: 1 }), ready).restart).toHaveLength(1);
    expect(plan(plain({ replicas: 4, maxUnavailable: '50%' }), ready).restart).toHaveLength(2);
    expect(plan(plain({ replicas: 4 }), ready).restart).toHaveLength(4);
    const oneGone = [member(0), ...ready.slice(1)];
    expect(plan(plain({ replicas: 4, maxUnavailable: 1 }), oneGone).restart.map(({ vm }) => vm.metadata.name)).toEqual(['web-0']);
  });

  it('takes first what the selectors name', () => {
    const labelled = member(2, {
      metadata: { name: 'web-2', labels: { zone: 'b', 'kubevirt.io/vm-pool-revision-name': 'new' } },
    });
    const scaleInStrategy = {
      proactive: {
        selectionPolicy: { sortPolicy: 'AscendingOrder', selectors: { labelSelector: { matchLabels: { zone: 'b' } } } },
      },
    };
    const { remove } = plan(plain({ replicas: 1, scaleInStrategy }), [member(0), member(1), labelled]);
    expect(remove.map(({ metadata }) => metadata.name)).toEqual(['web-2', 'web-0']);
  });

  it('replaces VMs that fail to start for long enough', () => {
    const since = '2026-01-01T00:00:00Z';
    const conditions = [{ type: 'Ready', status: 'False', lastTransitionTime: since }] as const;
    const failing = member(0, { status: { startFailure: { consecutiveFailCount: 3 }, conditions: [...conditions] } });
    const of = plain({ replicas: 1, autohealing: { minFailingToStartDuration: '1m' } });
    expect(plan(of, [failing], Date.parse(since) + 59_000)).toMatchObject({ heal: [], retryInMs: 1_000 });
    expect(plan(of, [failing], Date.parse(since) + 60_000).heal).toHaveLength(1);
  });

  it('reads durations and numbers', () => {
    expect([durationMs('1h30m'), durationMs('90s'), durationMs(''), durationMs('soon')]).toEqual([
      5_400_000,
      90_000,
      undefined,
      undefined,
    ]);
    expect(freeIndexes(plain({}), ['web-0', 'web-2', 'web-x', 'other-1'], 3)).toEqual([1, 3, 4]);
  });

  it('numbers references to configuration when asked to', () => {
    const volumes = [
      { name: 'c', configMap: { name: 'conf' } },
      { name: 's', secret: { secretName: 'key' } },
      { name: 'u', cloudInitNoCloud: { secretRef: { name: 'user' } } },
    ];
    const nameGeneration = { appendIndexToConfigMapRefs: true, appendIndexToSecretRefs: true };
    const of = plain({
      nameGeneration,
      virtualMachineTemplate: template({}, { volumes }) as Pool['spec']['virtualMachineTemplate'],
    });
    const numbered = memberSpec(of, 7, 'r').template.spec?.volumes;
    expect(
      numbered?.map((volume) => volume.configMap?.name ?? volume.secret?.secretName ?? volume.cloudInitNoCloud?.secretRef?.name),
    ).toEqual(['conf-7', 'key-7', 'user-7']);
    expect(memberSpec(plain({}), 7, 'r').template.metadata).toMatchObject({
      labels: { 'kubevirt.io/vm-pool-revision-name': 'r' },
    });
  });
});
