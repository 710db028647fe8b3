import { CDIConfigKind, StorageProfileKind } from '@slipway/api';
import type { AdmissionRequest } from '@slipway/runtime';
import { built, type Built, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { claimAdmission } from './claim-admission.ts';

let world: TestWorld;
afterEach(() => world.close());

const ceph = storageClass('ceph', {
  provisioner: 'rbd.csi.ceph.com',
  metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
});

async function admit(
  spec: object,
  labels: Record<string, string> = { 'cdi.kubevirt.io/applyStorageProfile': 'true' },
  ...more: Built[]
) {
  world = await testWorld({ controllers: [] }).with(ceph, ...more);
  const object = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'c', namespace: 'a', labels }, spec };
  const request = { operation: 'CREATE', object } as unknown as AdmissionRequest;
  const answer = await claimAdmission({ client: world.client }).mutate?.(request);
  return answer?.['spec'];
}

const request = (storage: string) => ({ resources: { requests: { storage } } });

describe('claims that ask for the storage profile', () => {
  it('get class, modes and size', async () => {
    expect(await admit(request('1Gi'))).toEqual({
      accessModes: ['ReadWriteMany'],
      volumeMode: 'Block',
      storageClassName: 'ceph',
      resources: { requests: { storage: '1Gi' } },
    });
  });

  it('get room for a file system, and the access mode that goes with it', async () => {
    expect(await admit({ ...request('100Mi'), volumeMode: 'Filesystem' })).toMatchObject({
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '106Mi' } },
    });
  });

  it('may leave the volume mode to the profile by name', async () => {
    expect(await admit({ ...request('1Gi'), volumeMode: 'FromStorageProfile' })).toMatchObject({ volumeMode: 'Block' });
  });

  it('keep their size when they are made from a snapshot', async () => {
    const dataSource = { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: 's' };
    expect(await admit({ ...request('100Mi'), volumeMode: 'Filesystem', dataSource })).toMatchObject({
      ...request('100Mi'),
      dataSource,
    });
  });

  it('are as large as the provisioner makes them at least', async () => {
    const profile = built(StorageProfileKind, 'ceph', {
      metadata: { name: 'ceph', annotations: { 'cdi.kubevirt.io/minimumSupportedPvcSize': '4Gi' } },
      spec: {},
    });
    expect(await admit(request('1Gi'), undefined, profile)).toMatchObject(request('4Gi'));
  });

  it('are refused when nothing is known of the class', async () => {
    await expect(admit({ ...request('1Gi'), storageClassName: 'none' })).rejects.toMatchObject({
      code: 400,
      message: expect.stringContaining('admission webhook "pvc-mutate.cdi.kubevirt.io" denied the request'),
    });
  });
});

describe('other claims', () => {
  it('stay as they are', async () => {
    expect(await admit(request('1Gi'), {})).toBeUndefined();
  });

  it('stay as they are while the administrator has switched it off', async () => {
    const config = built(CDIConfigKind, 'config', { metadata: { name: 'config' }, spec: { webhookPvcRendering: 'Disabled' } });
    expect(await admit(request('1Gi'), undefined, config)).toBeUndefined();
  });
});
