import { type Deployment, DeploymentKind, type Pod, PodKind, type ReplicaSet, ReplicaSetKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replicaSetController } from '../replica-set/index.ts';
import { deploymentController } from './index.ts';

let world: TestWorld;
const KEY = { namespace: 'a', name: 'web' };
const REVISION = 'deployment.kubernetes.io/revision';

beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [replicaSetController, deploymentController] });
});
afterEach(() => world.close());

const deployment = (spec: object, image = 'app:1') =>
  built(DeploymentKind, 'a/web', {
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image }] } },
      ...spec,
    },
  });

const pods = (): Promise<readonly Pod[]> => world.list(PodKind, 'a');
const images = async () => (await pods()).map(({ spec }) => spec?.containers[0]?.image ?? '').sort((a, b) => a.localeCompare(b));
const sets = (): Promise<readonly ReplicaSet[]> => world.list(ReplicaSetKind, 'a');
const get = (): Promise<Deployment> => world.get(DeploymentKind, KEY);
const conditions = async () =>
  Object.fromEntries(((await get()).status?.conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]));

async function makeReady(isWanted: (pod: Pod) => boolean = () => true): Promise<void> {
  for (const pod of (await pods()).filter(isWanted)) {
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await world.client.patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status' });
  }
  await world.settle();
}

async function change(spec: object): Promise<void> {
  await world.client.patch(DeploymentKind, KEY, { spec }, { type: 'merge' });
  await world.settle();
}
const setImage = (image: string) => change({ template: { spec: { containers: [{ name: 'c', image }] } } });

describe('Deployment', () => {
  it('makes one ReplicaSet with its pods and reports how far it is', async () => {
    await world.with(deployment({}));
    await world.settle();
    expect(await images()).toEqual(['app:1', 'app:1', 'app:1']);
    const [set] = await sets();
    const hash = set?.metadata.labels?.['pod-template-hash'];
    expect(set?.metadata.name).toBe(`web-${hash}`);
    expect((await pods()).every(({ metadata }) => metadata.labels?.['pod-template-hash'] === hash)).toBe(true);
    expect((await get()).metadata.annotations?.[REVISION]).toBe('1');
    expect((await get()).status).toMatchObject({ replicas: 3, updatedReplicas: 3, unavailableReplicas: 3 });
    expect(await conditions()).toMatchObject({ Available: 'False MinimumReplicasUnavailable' });
    await makeReady();
    const { status, metadata } = await get();
    expect(status).toMatchObject({
      observedGeneration: metadata.generation,
      replicas: 3,
      updatedReplicas: 3,
      readyReplicas: 3,
      availableReplicas: 3,
    });
    expect(status?.unavailableReplicas).toBeUndefined();
    expect(await conditions()).toEqual({
      Available: 'True MinimumReplicasAvailable',
      Progressing: 'True NewReplicaSetAvailable',
    });
  });

  it('rolls out a new template without falling below what may be unavailable', async () => {
    await world.with(deployment({ strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }));
    await world.settle();
    await makeReady();
    await setImage('app:2');
    expect(await images()).toEqual(['app:1', 'app:1', 'app:1', 'app:2']);
    for (let round = 0; round < 3; round++) {
      await makeReady();
      expect((await pods()).length).toBeLessThanOrEqual(4);
      expect((await pods()).filter(({ status }) => status?.phase === 'Running').length).toBeGreaterThanOrEqual(3);
    }
    await makeReady();
    expect(await images()).toEqual(['app:2', 'app:2', 'app:2']);
    expect((await get()).metadata.annotations?.[REVISION]).toBe('2');
    expect(await conditions()).toMatchObject({ Progressing: 'True NewReplicaSetAvailable' });
  });

  it('gives an old template a new revision when it comes back', async () => {
    await world.with(deployment({}));
    await world.settle();
    await makeReady();
    await setImage('app:2');
    await setImage('app:1');
    expect((await get()).metadata.annotations?.[REVISION]).toBe('3');
    expect(
      (await sets()).map(({ metadata }) => metadata.annotations?.[REVISION] ?? '').sort((a, b) => a.localeCompare(b)),
    ).toEqual(['2', '3']);
    const back = (await sets()).find(({ metadata }) => metadata.annotations?.[REVISION] === '3');
    expect(back?.metadata.annotations?.['deployment.kubernetes.io/revision-history']).toBe('1');
  });

  it('recreates: no new pod before the last old one is gone', async () => {
    await world.with(deployment({ replicas: 2, strategy: { type: 'Recreate' } }));
    await world.settle();
    await makeReady();
    for (const pod of await pods()) {
      const patch = { metadata: { finalizers: ['example.com/wait'] } };
      await world.client.patch(PodKind, keyOf(pod), patch, { type: 'merge' });
    }
    await change({ template: { spec: { containers: [{ name: 'c', image: 'app:2' }] } } });
    expect(await images()).toEqual(['app:1', 'app:1']);
    for (const pod of await pods()) {
      await world.client.patch(PodKind, keyOf(pod), { metadata: { finalizers: null } }, { type: 'merge' });
    }
    await world.settle();
    expect(await images()).toEqual(['app:2', 'app:2']);
  });

  it('says so when it gets nowhere for too long', async () => {
    await world.with(deployment({ progressDeadlineSeconds: 60 }));
    await world.settle();
    await world.advance(59_000);
    expect((await conditions())['Progressing']).toMatch(/^True/);
    await world.advance(2_000);
    expect((await conditions())['Progressing']).toBe('False ProgressDeadlineExceeded');
    await makeReady();
    expect((await conditions())['Progressing']).toBe('True NewReplicaSetAvailable');
  });

  it('scales while paused, and rolls out when resumed', async () => {
    await world.with(deployment({}));
    await world.settle();
    await makeReady();
    await change({ paused: true, replicas: 2, template: { spec: { containers: [{ name: 'c', image: 'app:2' }] } } });
    expect(await images()).toEqual(['app:1', 'app:1']);
    expect((await conditions())['Progressing']).toBe('Unknown DeploymentPaused');
    await change({ paused: false });
    await makeReady();
    await makeReady();
    expect(await images()).toEqual(['app:2', 'app:2']);
  });

  it('shares a new size between the templates of a rollout that is underway', async () => {
    await world.with(deployment({ replicas: 4, strategy: { rollingUpdate: { maxSurge: 2, maxUnavailable: 0 } } }));
    await world.settle();
    await makeReady();
    await setImage('app:2');
    expect(await images()).toHaveLength(6);
    await change({ replicas: 8 });
    const sizes = (await sets()).map(({ spec }) => spec?.replicas ?? 0).sort((a, b) => a - b);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(10);
    expect(sizes[0]).toBeGreaterThan(2);
  });

  it('keeps as many old templates as it is asked to', async () => {
    await world.with(deployment({ revisionHistoryLimit: 1 }));
    await world.settle();
    for (const image of ['app:2', 'app:3', 'app:4']) {
      await setImage(image);
      for (let round = 0; round < 4; round++) await makeReady();
    }
    expect(await sets()).toHaveLength(2);
  });

  it('repeats the reason for which pods cannot be made', async () => {
    await world.with(
      deployment({
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { serviceAccountName: 'nobody', containers: [{ name: 'c', image: 'x' }] },
        },
      }),
    );
    await world.settle();
    expect((await conditions())['ReplicaFailure']).toBe('True FailedCreate');
  });
});

describe('ReplicaSet', () => {
  it('adopts pods that match and lets go of those that do not', async () => {
    const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'c', image: 'y' }] } };
    await world.with(
      built(PodKind, 'a/stray', { metadata: { name: 'stray', namespace: 'a', labels: { app: 'x' } }, spec: template.spec }),
      built(ReplicaSetKind, 'a/set', { spec: { replicas: 2, selector: { matchLabels: { app: 'x' } }, template } }),
    );
    await world.settle();
    expect(await pods()).toHaveLength(2);
    expect((await world.get(PodKind, 'a/stray')).metadata.ownerReferences?.[0]?.name).toBe('set');
    await world.client.patch(
      PodKind,
      { namespace: 'a', name: 'stray' },
      { metadata: { labels: { app: 'z' } } },
      { type: 'merge' },
    );
    await world.settle();
    expect(await pods()).toHaveLength(3);
    expect((await world.get(PodKind, 'a/stray')).metadata.ownerReferences).toBeUndefined();
  });

  it('replaces a pod that ended and removes first what is not ready', async () => {
    const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'c', image: 'y' }] } };
    await world.with(
      built(ReplicaSetKind, 'a/set', { spec: { replicas: 2, selector: { matchLabels: { app: 'x' } }, template } }),
    );
    await world.settle();
    const [keep] = await pods();
    await makeReady((pod) => pod.metadata.uid === keep?.metadata.uid);
    expect((await world.get(ReplicaSetKind, 'a/set')).status).toMatchObject({
      replicas: 2,
      fullyLabeledReplicas: 2,
      readyReplicas: 1,
    });
    await world.client.patch(ReplicaSetKind, { namespace: 'a', name: 'set' }, { spec: { replicas: 1 } }, { type: 'merge' });
    await world.settle();
    expect((await pods()).map(({ metadata }) => metadata.name)).toEqual([keep?.metadata.name]);
    const status = { phase: 'Failed' };
    await world.client.patch(
      PodKind,
      { namespace: 'a', name: keep?.metadata.name ?? '' },
      { status },
      { type: 'merge', subresource: 'status' },
    );
    await world.settle();
    expect((await pods()).filter(({ status: { phase } = {} }) => phase !== 'Failed')).toHaveLength(1);
  });
});
