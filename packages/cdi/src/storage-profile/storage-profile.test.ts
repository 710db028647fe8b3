import { PersistentVolumeKind, StorageClassKind, StorageProfileKind, VolumeSnapshotClassKind } from '@slipway/api';
import { built, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';
import { planProfile } from './profile-status.ts';

const nothing = { snapshotClasses: [], volumes: [] };
const plan = (provisioner: string, parameters: Record<string, string> = {}, facts = nothing) =>
  planProfile(storageClass('c', { provisioner, parameters }).object, undefined, facts);
const shown = (provisioner: string, parameters?: Record<string, string>): string =>
  (plan(provisioner, parameters).status.claimPropertySets ?? [])
    .map(({ accessModes: [mode = ''], volumeMode }) => `${mode.replace(/[a-z]/g, '')}/${volumeMode[0]}`)
    .join(' ');

describe('capabilities', () => {
  it.each<[string, Record<string, string>, string]>([
    ['local.slipway.dev', {}, 'RWO/F RWO/B'],
    ['kubevirt.io.hostpath-provisioner', {}, 'RWO/F'],
    ['kubevirt.io.hostpath-provisioner', { overlayCSI: 'x' }, 'RWM/F'],
    ['openshift-storage.rbd.csi.ceph.com', {}, 'RWM/B RWO/B RWO/F'],
    ['cephfs.csi.ceph.com', {}, 'RWM/F RWO/F'],
    ['csi-unity.dellemc.com', {}, 'RWM/B RWO/B RWO/F ROM/B ROM/F'],
    ['csi-unity.dellemc.com', { protocol: 'nfs' }, 'RWM/F RWO/F ROM/F'],
    ['csi-vxflexos.dellemc.com', { 'csi.storage.k8s.io/fstype': 'nfs' }, 'RWM/F RWO/F ROM/F'],
    ['ebs.csi.aws.com', { type: 'gp3' }, 'RWO/B'],
    ['ebs.csi.aws.com', { type: 'io2' }, 'RWM/B RWO/B RWO/F'],
    ['pd.csi.storage.gke.io', {}, 'RWO/B RWO/F'],
    ['pd.csi.storage.gke.io', { type: 'hyperdisk-balanced' }, 'RWM/B RWO/B RWO/F'],
    ['pxd.portworx.com', { sharedv4_mount_options: 'vers=3.0,nolock' }, 'RWM/F RWO/F'],
    ['pxd.portworx.com', { backend: 'pure_block' }, 'RWM/B RWO/B RWO/F'],
    ['csi.trident.netapp.io', { backendType: 'ontap-san-economy' }, 'RWM/B'],
    ['csi.trident.netapp.io', {}, ''],
    ['infinibox-csi-driver', { storage_protocol: 'nfs_treeq' }, 'RWM/F RWO/F'],
    ['csi.vsphere.vmware.com', { 'csi.storage.k8s.io/fstype': 'nfs4' }, 'RWM/F RWO/B RWO/F'],
    ['driver.longhorn.io', {}, 'RWO/B'],
    ['driver.longhorn.io', { migratable: 'true', fsType: 'ext4' }, 'RWM/B RWO/B'],
    ['driver.longhorn.io', { fsType: 'ext4' }, 'RWO/F'],
    ['csi.san.synology.com', { protocol: 'smb' }, 'RWM/F RWO/F'],
    ['constructor', {}, ''],
  ])('%s %j', (provisioner, parameters, expected) => {
    expect(shown(provisioner, parameters)).toBe(expected);
  });

  it.each([
    ['csi.example.com', 'UnrecognizedProvisioner'],
    ['csi.trident.netapp.io', 'UnrecognizedStorageClassParameters'],
    ['kubernetes.io/no-provisioner', 'RecognizedProvisioner'],
    ['rbd.csi.ceph.com', 'RecognizedProvisioner'],
  ])('are recognized or not: %s, %s', (provisioner, reason) => {
    expect(plan(provisioner).recognized.reason).toBe(reason);
  });

  it('name the smallest claim and what DataImportCrons need', () => {
    const classes = [
      { name: 'disks', parameters: {} },
      { name: 'images', parameters: { 'snapshot-type': 'images' } },
    ].map(({ name, parameters }) => built(VolumeSnapshotClassKind, name, snapshotClass(name, { parameters })).object);
    const driver = 'pd.csi.storage.gke.io';
    const found = plan(driver, { type: 'hyperdisk-balanced' }, {
      ...nothing,
      snapshotClasses: classes.map((item) => ({ ...item, driver })),
    } as never);
    expect(found.annotations).toEqual({
      'cdi.kubevirt.io/minimumSupportedPvcSize': '4Gi',
      'cdi.kubevirt.io/useReadWriteOnceForDataImportCron': 'true',
      'cdi.kubevirt.io/snapshotClassForDataImportCron': 'images',
    });
    expect(found.status).toMatchObject({
      dataImportCronSourceFormat: 'snapshot',
      snapshotClass: 'disks',
      cloneStrategy: 'snapshot',
    });
    expect(plan(driver).status).toMatchObject({ dataImportCronSourceFormat: 'pvc' });
  });
});

const snapshotClass = (name: string, rest: object = {}) =>
  ({ metadata: { name }, driver: 'csi.example.com', deletionPolicy: 'Delete', ...rest }) as object;

describe('the controller', () => {
  let world: TestWorld;
  afterEach(() => world.close());

  const profile = (name: string) => world.get(StorageProfileKind, name);

  it('keeps a profile for every class and follows what it depends on', async () => {
    world = await testWorld({ controllers: cdiControllers }).with(storageClass('ceph', { provisioner: 'csi.example.com' }));
    await world.settle();
    expect((await profile('ceph')).status).toMatchObject({ cloneStrategy: 'copy', dataImportCronSourceFormat: 'pvc' });

    await world.with(built(VolumeSnapshotClassKind, 'snap', snapshotClass('snap')));
    await world.settle();
    expect((await profile('ceph')).status).toMatchObject({ cloneStrategy: 'snapshot', snapshotClass: 'snap' });

    const spec = { claimPropertySets: [{ accessModes: ['ReadWriteMany'], volumeMode: 'Block' }], cloneStrategy: 'copy' };
    await world.client.patch(StorageProfileKind, { namespace: '', name: 'ceph' }, { spec }, { type: 'merge' });
    await world.settle();
    expect((await profile('ceph')).status).toMatchObject(spec);

    await world.client.delete(StorageClassKind, { namespace: '', name: 'ceph' });
    await world.settle();
    expect(await world.exists(StorageProfileKind, 'ceph')).toBe(false);
  });

  it('asks hand-made volumes what they can do', async () => {
    const volume = built(PersistentVolumeKind, 'pv', {
      metadata: { name: 'pv' },
      spec: { storageClassName: 'static', accessModes: ['ReadWriteMany', 'ReadWriteOnce'], volumeMode: 'Block' },
    });
    world = await testWorld({ controllers: cdiControllers }).with(
      storageClass('static', { provisioner: 'kubernetes.io/no-provisioner' }),
    );
    await world.settle();
    await world.with(volume);
    await world.settle();
    expect((await profile('static')).status?.claimPropertySets).toEqual([
      { accessModes: ['ReadWriteMany'], volumeMode: 'Block' },
      { accessModes: ['ReadWriteOnce'], volumeMode: 'Block' },
    ]);
  });
});
