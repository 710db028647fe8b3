import { DataVolumeKind, type Pod, PersistentVolumeClaimKind, PodKind } from '@slipway/api';
import { built, type Built, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';

let world: TestWorld;
afterEach(() => world.close());

const IMMEDIATE = { 'cdi.kubevirt.io/storage.bind.immediate.requested': '' };
const DEFAULT = { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } };
const local = storageClass('local', DEFAULT);
const volume = (annotations: Record<string, string> = {}, spec: object = {}) =>
  built(DataVolumeKind, 'a/disk', {
    metadata: { annotations },
    spec: { source: { upload: {} }, storage: { resources: { requests: { storage: '1Gi' } } }, ...spec },
  });

async function worldWith(...objects: readonly Built[]): Promise<void> {
  world = await testWorld({ controllers: cdiControllers }).with(local, ...objects);
  await world.settle();
}

const status = async () => (await world.get(DataVolumeKind, 'a/disk')).status;
const condition = async (type: string) => (await status())?.conditions?.find((item) => item.type === type);
const claimAnnotations = async () => (await world.get(PersistentVolumeClaimKind, 'a/disk')).metadata.annotations ?? {};
const pod = () => world.get(PodKind, 'a/cdi-upload-disk');

async function bind(): Promise<void> {
  const found = await world.get(PersistentVolumeClaimKind, 'a/disk');
  const next = { ...found, spec: { ...found.spec, volumeName: 'pv1' }, status: { phase: 'Bound' } };
  await world.client.update(PersistentVolumeClaimKind, next);
  const { metadata } = await world.get(PersistentVolumeClaimKind, 'a/disk');
  await world.client.update(PersistentVolumeClaimKind, { ...next, metadata }, { subresource: 'status' });
  await world.settle();
}

async function podIs(phase: string, container: object, progress?: string): Promise<void> {
  const key = { namespace: 'a', name: 'cdi-upload-disk' };
  const annotations = progress === undefined ? {} : { 'slipway.dev/progress': progress };
  await world.client.patch(PodKind, key, { metadata: { annotations } }, { type: 'merge' });
  const found: Pod = await pod();
  const containerStatuses = [{ name: 'cdi-upload-server', restartCount: 0, ...container }];
  await world.client.update(PodKind, { ...found, status: { phase, containerStatuses } } as Pod, { subresource: 'status' });
  await world.settle();
}

describe('a DataVolume that is uploaded', () => {
  it('goes through the phases of CDI, with its conditions and events', async () => {
    await worldWith(volume(IMMEDIATE));
    expect(await status()).toMatchObject({ phase: 'Pending', claimName: 'disk', progress: 'N/A' });
    expect(await claimAnnotations()).toMatchObject({
      'cdi.kubevirt.io/storage.upload.target': '',
      'cdi.kubevirt.io/storage.contentType': 'kubevirt',
    });
    await bind();
    expect(await status()).toMatchObject({ phase: 'UploadScheduled' });
    expect(await condition('Bound')).toMatchObject({ status: 'True', reason: 'Bound', message: 'PVC disk Bound' });

    await podIs('Running', { ready: false, state: { running: {} } });
    expect(await status()).toMatchObject({ phase: 'UploadScheduled' });
    await podIs('Running', { ready: true, state: { running: {} } });
    expect(await status()).toMatchObject({ phase: 'UploadReady', progress: 'N/A' });
    expect(await claimAnnotations()).toMatchObject({
      'cdi.kubevirt.io/storage.pod.ready': 'true',
      'cdi.kubevirt.io/storage.pod.phase': 'Running',
      'cdi.kubevirt.io/storage.uploadPodName': 'cdi-upload-disk',
    });
    expect(await condition('Running')).toMatchObject({ status: 'True', reason: 'Pod is running' });
    expect(await condition('Ready')).toMatchObject({ status: 'False', reason: 'TransferRunning' });

    await podIs('Running', { ready: true, state: { running: {} } }, '{"percent":41.5}');
    expect(await status()).toMatchObject({ phase: 'UploadReady', progress: '41.50%' });

    await podIs('Succeeded', { ready: false, state: { terminated: { exitCode: 0, reason: 'Completed' } } });
    expect(await status()).toMatchObject({ phase: 'Succeeded', progress: '100.0%' });
    expect(await condition('Running')).toMatchObject({ status: 'False', reason: 'Completed', message: 'Upload Complete' });
    expect(await condition('Ready')).toMatchObject({ status: 'True', reason: '' });
    expect(await world.exists(PodKind, 'a/cdi-upload-disk')).toBe(false);
    expect(await world.events(volume())).toEqual([
      'Normal Pending PVC disk Pending',
      'Normal Bound PVC disk Bound',
      'Normal UploadScheduled Upload into disk scheduled',
      'Normal UploadReady Upload into disk ready',
      'Normal UploadSucceeded Successfully uploaded into disk',
    ]);
    expect(await world.events(pvc('a/disk'))).toEqual(['Normal UploadSucceeded Upload Successful']);
  });

  it('waits for a consumer that nobody asked to do without', async () => {
    await worldWith(volume());
    expect(await status()).toMatchObject({ phase: 'WaitForFirstConsumer' });
    expect(await world.exists(PodKind, 'a/cdi-upload-disk')).toBe(false);
  });

  it('says why an upload failed, and takes the next one', async () => {
    await worldWith(volume(IMMEDIATE));
    await bind();
    const message = 'virtual image size 2 is larger than the reported available storage 1. A larger PVC is required';
    const terminated = { exitCode: 1, reason: 'Error', message };
    await podIs('Running', {
      ready: false,
      restartCount: 1,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated },
    });
    expect(await status()).toMatchObject({ phase: 'UploadScheduled', restartCount: 1 });
    expect(await condition('Running')).toMatchObject({
      status: 'False',
      reason: 'Error',
      message: 'DataVolume too small to contain image',
    });
    expect(await world.events(volume())).toContain('Warning UploadFailed DataVolume too small to contain image');
    await podIs('Running', { ready: true, restartCount: 1, state: { running: {} } });
    expect(await status()).toMatchObject({ phase: 'UploadReady' });
  });

  it('passes its wishes on to the upload server', async () => {
    await worldWith(volume(IMMEDIATE, { preallocation: true, priorityClassName: 'high', serviceAccountName: 'mover' }));
    await bind();
    const { spec } = await pod();
    expect(spec).toMatchObject({ priorityClassName: 'high', serviceAccountName: 'mover', restartPolicy: 'OnFailure' });
    expect(spec?.containers[0]).toMatchObject({ image: 'slipway/cdi-uploadserver' });
    expect(spec?.containers[0]?.env).toContainEqual({ name: 'PREALLOCATION', value: 'true' });
  });
});

describe('a claim that is uploaded', () => {
  const target = (annotations: Record<string, string> = {}) =>
    pvc('a/disk', { metadata: { annotations: { 'cdi.kubevirt.io/storage.upload.target': '', ...annotations } } });

  it('needs no DataVolume', async () => {
    await worldWith(target());
    await bind();
    expect(await pod()).toMatchObject({ spec: { volumes: [{ persistentVolumeClaim: { claimName: 'disk' } }] } });
  });

  it.each([
    ['that was uploaded already', { 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' }],
    ['that came with its content', { 'cdi.kubevirt.io/storage.populatedFor': 'disk' }],
  ])('%s is left alone', async (_, annotations) => {
    await worldWith(target(annotations));
    await bind();
    expect(await world.exists(PodKind, 'a/cdi-upload-disk')).toBe(false);
  });
});
