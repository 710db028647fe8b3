import {
  PersistentVolumeClaimKind,
  PodKind,
  VolumeCloneSourceKind,
  VolumeImportSourceKind,
  VolumeUploadSourceKind,
} from '@slipway/api';
import { built, pv, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';

let world: TestWorld;
afterEach(() => world.close());

const claimOf = (kind: string) =>
  pvc('a/disk', { spec: { storageClassName: 'local', dataSourceRef: { apiGroup: 'cdi.kubevirt.io', kind, name: 'src' } } });
const annotations = async () => (await world.get(PersistentVolumeClaimKind, 'a/disk')).metadata.annotations ?? {};

async function bind(): Promise<void> {
  const found = await world.get(PersistentVolumeClaimKind, 'a/disk');
  const next = { ...found, spec: { ...found.spec, volumeName: 'pv1' }, status: { phase: 'Bound' } };
  await world.client.update(PersistentVolumeClaimKind, next);
  const { metadata } = await world.get(PersistentVolumeClaimKind, 'a/disk');
  await world.client.update(PersistentVolumeClaimKind, { ...next, metadata }, { subresource: 'status' });
  await world.settle();
}

describe('a claim with a dataSourceRef to', () => {
  it('a VolumeImportSource is filled by an importer', async () => {
    const source = { http: { url: 'http://images.example.com/a.qcow2', checksum: 'md5:00' } };
    world = await testWorld({ controllers: cdiControllers }).with(
      storageClass('local'),
      built(VolumeImportSourceKind, 'a/src', { spec: { source, preallocation: true } }),
      claimOf('VolumeImportSource'),
    );
    await world.settle();
    await bind();
    expect(await annotations()).toMatchObject({
      'cdi.kubevirt.io/storage.import.source': 'http',
      'cdi.kubevirt.io/storage.import.endpoint': source.http.url,
      'cdi.kubevirt.io/storage.preallocation.requested': 'true',
      'cdi.kubevirt.io/storage.populator.kind': 'VolumeImportSource',
    });
    expect(await world.exists(PodKind, 'a/importer-disk')).toBe(true);
  });

  it('a VolumeUploadSource that comes later takes an upload', async () => {
    const claim = claimOf('VolumeUploadSource');
    world = await testWorld({ controllers: cdiControllers }).with(storageClass('local'), claim);
    await world.settle();
    expect(await world.events(claim)).toContainEqual(expect.stringContaining('VolumeUploadSource "src" does not exist'));
    await world.with(built(VolumeUploadSourceKind, 'a/src', { spec: { contentType: 'kubevirt' } }));
    await world.settle();
    await bind();
    expect(await annotations()).toMatchObject({ 'cdi.kubevirt.io/storage.upload.target': '' });
    expect(await world.exists(PodKind, 'a/cdi-upload-disk')).toBe(true);
  });

  it('a VolumeCloneSource is cloned from its own namespace', async () => {
    world = await testWorld({ controllers: cdiControllers }).with(
      storageClass('local'),
      built(VolumeCloneSourceKind, 'a/src', { spec: { source: { kind: 'PersistentVolumeClaim', name: 'golden' } } }),
      claimOf('VolumeCloneSource'),
    );
    await world.settle();
    expect(await world.events(claimOf('VolumeCloneSource'))).toContain(
      "Warning CloneWithoutSource The source pvc golden doesn't exist",
    );
    expect(await annotations()).not.toHaveProperty(['k8s.io/CloneRequest']);
    await world.with(
      pv('golden', { metadata: { annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } } }),
      pvc('a/golden', { spec: { volumeName: 'golden' }, status: { phase: 'Bound', capacity: { storage: '1Gi' } } }),
    );
    await world.settle();
    expect(await annotations()).toMatchObject({
      'k8s.io/CloneRequest': 'a/golden',
      'cdi.kubevirt.io/cloneType': 'csi-clone',
      'volume.kubernetes.io/selected-node': 'node1',
    });
  });
});
