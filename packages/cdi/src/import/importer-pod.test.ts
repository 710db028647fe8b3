import { PersistentVolumeClaimKind } from '@slipway/api';
import { built } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { importerPod } from './importer-pod.ts';

const PREFIX = 'cdi.kubevirt.io/storage.import.';
const podFor = (annotations: Record<string, string>) => {
  const metadata = {
    name: 'disk',
    namespace: 'a',
    uid: 'claim-uid',
    annotations: Object.fromEntries(Object.entries(annotations).map(([key, value]) => [PREFIX + key, value])),
  };
  const claim = built(PersistentVolumeClaimKind, 'a/disk', { metadata, spec: { resources: { requests: { storage: '1Gi' } } } });
  const { containers, volumes } = importerPod(claim.object).spec ?? { containers: [] };
  return { env: containers[0]?.env ?? [], mounts: containers[0]?.volumeMounts, volumes };
};

describe('importerPod', () => {
  it('takes name and key of an S3 store from the Secret', () => {
    const { env } = podFor({ source: 's3', endpoint: 'https://s3.example.com/b/k', secretName: 'keys' });
    expect(env).toEqual(
      expect.arrayContaining([
        { name: 'IMPORTER_SOURCE', value: 's3' },
        { name: 'IMPORTER_ENDPOINT', value: 'https://s3.example.com/b/k' },
        { name: 'IMPORTER_ACCESS_KEY_ID', valueFrom: { secretKeyRef: { name: 'keys', key: 'accessKeyId' } } },
        { name: 'IMPORTER_SECRET_KEY', valueFrom: { secretKeyRef: { name: 'keys', key: 'secretKey' } } },
      ]),
    );
  });

  it("mounts Google's key file, and reads public objects without one", () => {
    const { env, mounts, volumes } = podFor({ source: 'gcs', endpoint: 'gs://b/o', secretName: 'key' });
    expect(env).toContainEqual({ name: 'GOOGLE_APPLICATION_CREDENTIALS', value: '/google/credentials.json' });
    expect(env.filter(({ name }) => name.endsWith('KEY_ID'))).toEqual([]);
    expect(mounts).toContainEqual({ name: 'cdi-secret-vol', mountPath: '/google' });
    expect(volumes).toContainEqual({ name: 'cdi-secret-vol', secret: { secretName: 'key' } });
    expect(podFor({ source: 'gcs', endpoint: 'gs://b/o' }).env.map(({ name }) => name)).not.toContain(
      'GOOGLE_APPLICATION_CREDENTIALS',
    );
  });

  it('passes on everything that an import from oVirt or VMware names', () => {
    const { env } = podFor({
      ...{ source: 'vddk', endpoint: 'https://vcenter', secretName: 'keys', uuid: 'u', backingFile: '[ds] d.vmdk' },
      'vddk.thumbprint': 'AA:BB',
    });
    expect(env).toEqual(
      expect.arrayContaining([
        { name: 'IMPORTER_SOURCE', value: 'vddk' },
        { name: 'IMPORTER_UUID', value: 'u' },
        { name: 'IMPORTER_BACKING_FILE', value: '[ds] d.vmdk' },
        { name: 'IMPORTER_THUMBPRINT', value: 'AA:BB' },
      ]),
    );
    expect(podFor({ source: 'imageio', endpoint: 'https://engine', diskId: 'd' }).env).toContainEqual({
      ...{ name: 'IMPORTER_DISK_ID', value: 'd' },
    });
  });
});
