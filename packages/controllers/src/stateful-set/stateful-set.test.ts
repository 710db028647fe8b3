import { ControllerRevisionKind, PersistentVolumeClaimKind, type Pod, PodKind, StatefulSetKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { statefulSetController } from './index.ts';

let world: TestWorld;
beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [statefulSetController] });
});
afterEach(() => world.close());

const KEY = { namespace: 'a', name: 'db' };
const set = (spec: object) =>
  built(StatefulSetKind, 'a/db', {
    spec: {
      replicas: 3,
      serviceName: 'db',
      selector: { matchLabels: { app: 'db' } },
      template: {
        metadata: { labels: { app: 'db' } },
        spec: { containers: [{ name: 'c', image: 'db:1', volumeMounts: [{ name: 'data', mountPath: '/data' }] }] },
      },
      volumeClaimTemplates: [
        { metadata: { name: 'data' }, spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } },
      ],
      ...spec,
    },
  });

const pods = (): Promise<readonly Pod[]> => world.list(PodKind, 'a');
const names = async () => (await pods()).map(({ metadata }) => metadata.name);
const images = async () => (await pods()).map(({ spec }) => spec?.containers[0]?.image);
const statusOf = async () => (await world.get(StatefulSetKind, KEY)).status;

async function makeReady(): Promise<void> {
  for (const pod of await pods()) {
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await world.client.patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status' });
  }
  await world.settle();
}
async function change(spec: object): Promise<void> {
  await world.client.patch(StatefulSetKind, KEY, { spec }, { type: 'strategic' });
  await world.settle();
}
const setImage = (image: string) => change({ template: { spec: { containers: [{ name: 'c', image }] } } });

describe('StatefulSet', () => {
  it('makes its pods one after the other, each with its claim', async () => {
    await world.with(set({}));
    await world.settle();
    expect(await names()).toEqual(['db-0']);
    await makeReady();
    expect(await names()).toEqual(['db-0', 'db-1']);
    await makeReady();
    await makeReady();
    expect(await names()).toEqual(['db-0', 'db-1', 'db-2']);
    expect((await world.list(PersistentVolumeClaimKind, 'a')).map(({ metadata }) => metadata.name)).toEqual([
      'data-db-0',
      'data-db-1',
      'data-db-2',
    ]);
    const { spec, metadata } = await world.get(PodKind, 'a/db-1');
    expect(spec).toMatchObject({ hostname: 'db-1', subdomain: 'db' });
    expect(spec?.volumes).toContainEqual({ name: 'data', persistentVolumeClaim: { claimName: 'data-db-1' } });
    expect(metadata.labels).toMatchObject({ 'statefulset.kubernetes.io/pod-name': 'db-1' });
    const status = await statusOf();
    expect(status).toMatchObject({ replicas: 3, readyReplicas: 3, currentReplicas: 3, updatedReplicas: 3, availableReplicas: 3 });
    expect(status?.currentRevision).toBe(status?.updateRevision);
  });

  it('makes all at once when parallel, and shrinks from the top', async () => {
    await world.with(set({ podManagementPolicy: 'Parallel' }));
    await world.settle();
    expect(await names()).toEqual(['db-0', 'db-1', 'db-2']);
    await makeReady();
    await change({ replicas: 1 });
    expect(await names()).toEqual(['db-0']);
    expect(await world.list(PersistentVolumeClaimKind, 'a')).toHaveLength(3);
  });

  it('updates from the highest number down to the partition', async () => {
    await world.with(set({ podManagementPolicy: 'Parallel', updateStrategy: { rollingUpdate: { partition: 1 } } }));
    await world.settle();
    await makeReady();
    await setImage('db:2');
    expect(await images()).toEqual(['db:1', 'db:1', 'db:2']);
    await makeReady();
    expect(await images()).toEqual(['db:1', 'db:2', 'db:2']);
    await makeReady();
    expect(await images()).toEqual(['db:1', 'db:2', 'db:2']);
    expect(await statusOf()).toMatchObject({ currentReplicas: 1, updatedReplicas: 2 });
    // a lost pod below the partition comes back as it was
    await world.client.delete(PodKind, { namespace: 'a', name: 'db-0' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await images()).toEqual(['db:1', 'db:2', 'db:2']);
    expect(await world.list(ControllerRevisionKind, 'a')).toHaveLength(2);
  });

  it('removes claims with the pods that scaling removes when told to', async () => {
    await world.with(
      set({
        podManagementPolicy: 'Parallel',
        persistentVolumeClaimRetentionPolicy: { whenScaled: 'Delete', whenDeleted: 'Retain' },
      }),
    );
    await world.settle();
    await makeReady();
    const uid = (await world.get(PodKind, 'a/db-2')).metadata.uid;
    await change({ replicas: 2 });
    const claim = await world.get(PersistentVolumeClaimKind, 'a/data-db-2');
    expect(claim.metadata.ownerReferences?.map((owner) => owner.uid)).toEqual([uid]);
  });
});
