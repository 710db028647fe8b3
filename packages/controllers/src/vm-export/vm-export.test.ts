import { execFileSync } from 'node:child_process';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import {
  ExportVerb,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  SecretKind,
  VirtualMachineExportKind,
  VirtualMachineKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import type { OpenRequest, OpenResponse } from '@slipway/runtime';
import { type Built, built, fakeNodeConnector, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { vmSnapshotContentController, vmSnapshotController } from '../vm-snapshot/index.ts';
import { instance, machine, simulatedStorage, storageObjects } from '../vm-snapshot/testing/simulated-storage.ts';
import { volumeSnapshotController } from '../volume-snapshot/index.ts';
import { parseRange } from './byte-range.ts';
import { exportRoute } from './export-server.ts';
import { vmExportController } from './index.ts';
import { tarHeader } from './tar-stream.ts';

describe('ranges', () => {
  it.each([
    [undefined, undefined],
    ['bytes=0-', { offset: 0, length: 100 }],
    ['bytes=10-19', { offset: 10, length: 10 }],
    ['bytes=90-1000', { offset: 90, length: 10 }],
    ['bytes=-5', { offset: 95, length: 5 }],
    ['bytes=-500', { offset: 0, length: 100 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-2', undefined],
    ['bytes=0-1,5-6', undefined],
    ['lines=0-1', undefined],
    ['bytes=-', undefined],
  ])('%s of 100 bytes', (header, expected) => {
    expect(parseRange(header, 100)).toEqual(expected);
  });
});

describe('archives', () => {
  it('hold sizes that do not fit in octal digits', () => {
    expect(tarHeader('a', 8 ** 11 - 1, 0).toString('latin1', 124, 136)).toBe('77777777777\0');
    const large = tarHeader('a', 8 ** 11, 0);
    expect(large.readUInt8(124)).toBe(0x80);
    expect(large.readBigUInt64BE(128)).toBe(BigInt(8 ** 11));
  });
});

let world: TestWorld;
let opened: TestWorld | undefined;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});

const exportOf = (source: object, spec: object = {}): Built =>
  built(VirtualMachineExportKind, 'a/out', { spec: { source, ...spec } });
const ofClaim = exportOf({ apiGroup: '', kind: 'PersistentVolumeClaim', name: 'disk' });
const ofVm = exportOf({ apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' });

async function start(...objects: readonly Built[]): Promise<void> {
  const controllers = [
    volumeSnapshotController,
    vmSnapshotController,
    vmSnapshotContentController,
    vmExportController,
    ...simulatedStorage().registrations,
  ];
  world = testWorld({ api: 'server', controllers, settings: { apiUrl: 'https://1.2.3.4:6443', caBundle: 'CA' } });
  opened = world;
  await world.with(...storageObjects, ...objects);
  await world.settle();
}

const current = () => world.get(VirtualMachineExportKind, 'a/out');
const reasons = async () =>
  Object.fromEntries(
    ((await current()).status?.conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]),
  );

/** The node runs the exporter. */
async function serveExport(): Promise<Pod> {
  const key = { namespace: 'a', name: 'virt-export-out' };
  await world.client.patch(PodKind, key, { spec: { nodeName: 'node1' } }, { type: 'merge' }).catch(async () => {
    const path = `/api/v1/namespaces/a/pods/${key.name}/binding`;
    const target = { apiVersion: 'v1', kind: 'Node', name: 'node1' };
    await world.client.raw({ method: 'POST', path, body: { apiVersion: 'v1', kind: 'Binding', metadata: key, target } });
  });
  const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
  const ready = await world.client.patch(PodKind, key, { status }, { type: 'merge', subresource: 'status' });
  await world.settle();
  return ready;
}

describe('an export', () => {
  it('of a claim has links as soon as its exporter runs, and a token that was made up', async () => {
    await start(ofClaim);
    expect(await reasons()).toMatchObject({ PVCReady: 'True PVCBound' });
    expect((await current()).status).toMatchObject({ phase: 'Pending', tokenSecretRef: 'export-token-out' });
    const exporter = await world.get(PodKind, 'a/virt-export-out');
    expect(exporter.spec?.volumes).toEqual([{ name: 'volume-0', persistentVolumeClaim: { claimName: 'disk' } }]);
    await serveExport();
    const { status } = await current();
    expect(status?.phase).toBe('Ready');
    const base = 'https://1.2.3.4:6443/api/export.kubevirt.io/v1/namespaces/a/virtualmachineexports/out';
    expect(status?.links?.external).toEqual({
      cert: 'CA',
      volumes: [
        {
          name: 'disk',
          formats: [
            { format: 'dir', url: `${base}/volumes/disk/dir/` },
            { format: 'tar.gz', url: `${base}/volumes/disk/disk.tar.gz` },
          ],
        },
      ],
    });
    const token = Buffer.from((await world.get(SecretKind, 'a/export-token-out')).data?.['token'] ?? '', 'base64').toString();
    expect(token).toMatch(/^[A-Za-z0-9]{20}$/);
  });

  it('of a VM waits until that is off, and makes way when it is started', async () => {
    await start(machine());
    const { kind, object } = instance([]);
    await world.client.create(kind, object);
    await world.with(ofVm);
    await world.settle();
    expect(await reasons()).toMatchObject({ Ready: 'False InUse' });
    await world.client.delete(kind, { namespace: 'a', name: 'web' });
    await world.settle();
    await serveExport();
    expect((await current()).status).toMatchObject({ phase: 'Ready', virtualMachineName: 'web' });
    expect((await current()).status?.links?.external?.manifests?.map(({ type }) => type)).toEqual(['all', 'auth-header-secret']);
    await world.client.create(kind, instance([]).object);
    await world.settle();
    expect((await current()).status).toMatchObject({ phase: 'Pending' });
    expect((await current()).status?.links).toBeUndefined();
    const exporter = await world.get(PodKind, 'a/virt-export-out').catch(() => undefined);
    expect(exporter === undefined || exporter.metadata.deletionTimestamp !== undefined).toBe(true);
  });

  it('of a snapshot is made of claims of its own', async () => {
    const source = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' };
    await start(machine(), built(VirtualMachineSnapshotKind, 'a/snap', { spec: { source } }));
    await world.with(exportOf({ apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: 'snap' }));
    await world.settle();
    const claim = await world.get(PersistentVolumeClaimKind, 'a/out-disk');
    expect(claim.metadata.ownerReferences).toMatchObject([{ kind: 'VirtualMachineExport', name: 'out' }]);
    await serveExport();
    expect((await current()).status?.links?.external?.volumes?.[0]?.formats?.map(({ format }) => format)).toEqual([
      'raw',
      'gzip',
    ]);
  });

  it('of a claim that somebody else uses waits', async () => {
    const volumes = [{ name: 'd', persistentVolumeClaim: { claimName: 'disk' } }];
    await start(pod('a/other', { spec: { volumes } }), ofClaim);
    expect(await reasons()).toMatchObject({ Ready: 'False InUse' });
    expect(await world.exists(PodKind, 'a/virt-export-out')).toBe(false);
  });

  it.each([
    [ofVm, 'Ready', 'False VMNotFound'],
    [exportOf({ apiGroup: '', kind: 'PersistentVolumeClaim', name: 'none' }), 'PVCReady', 'False PVCNotFound'],
    [
      exportOf({ apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: 'x' }),
      'Ready',
      'False VMSnapshotNotFound',
    ],
  ])('says what is missing', async (missing, type, reason) => {
    await start(missing);
    expect((await reasons())[type]).toBe(reason);
  });

  it('of a VM without disks is skipped, and every export ends', async () => {
    await start(machine(), exportOf({ apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' }, { ttlDuration: '1m' }));
    await world.client.patch(
      VirtualMachineKind,
      { namespace: 'a', name: 'web' },
      { spec: { template: { spec: { volumes: [], domain: { devices: { disks: [] } } } } } },
      { type: 'merge' },
    );
    await world.settle();
    expect((await current()).status?.phase).toBe('Skipped');
    await world.advance(61_000);
    expect(await world.exists(VirtualMachineExportKind, 'a/out')).toBe(false);
  });
});

describe('the links of an export', () => {
  const disk = Buffer.from(Array.from({ length: 3000 }, (_, index) => index % 251));
  const nodes = fakeNodeConnector();
  let cutOffAt = disk.length;
  nodes.onCall(ExportVerb.info, () => ({ sizeBytes: disk.length }));
  nodes.onOpen(ExportVerb.read, ({ offset, length }) => {
    const end = Math.min(cutOffAt, Number(offset) + Number(length));
    return Readable.from([disk.subarray(Number(offset), end)]) as never;
  });

  async function ask(path: string, options: Partial<OpenRequest> = {}): Promise<OpenResponse> {
    const data = (await world.get(SecretKind, 'a/export-token-out')).data ?? {};
    const token = Buffer.from(data['token'] ?? '', 'base64').toString();
    const route = exportRoute({ client: world.client, nodes, now: () => 0, writeYaml: (value) => JSON.stringify(value) });
    return route.handle({
      method: 'GET',
      path: `/api/export.kubevirt.io/v1/namespaces/a/virtualmachineexports/out/${path}`,
      query: new URLSearchParams(),
      signal: new AbortController().signal,
      incoming: Readable.from([]),
      ...options,
      headers: { 'x-kubevirt-export-token': token, ...options.headers },
    });
  }
  async function bytes({ body }: OpenResponse): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of body as Readable) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }
  const startServed = async (): Promise<void> => {
    cutOffAt = disk.length;
    await start(machine(), ofVm);
    await serveExport();
  };

  it('give the disk, a part of it, and archives of it', async () => {
    await startServed();
    const raw = await ask('volumes/disk/disk.img');
    expect(raw).toMatchObject({ status: 200, headers: { 'accept-ranges': 'bytes', 'content-length': '3000' } });
    expect((await bytes(raw)).equals(disk)).toBe(true);
    const part = await ask('volumes/disk/disk.img', { headers: { range: 'bytes=1000-1009' } });
    expect(part).toMatchObject({ status: 206, headers: { 'content-range': 'bytes 1000-1009/3000' } });
    expect((await bytes(part)).equals(disk.subarray(1000, 1010))).toBe(true);
    expect(await ask('volumes/disk/disk.img', { headers: { range: 'bytes=3000-' } })).toMatchObject({ status: 416 });
    const changed = await ask('volumes/disk/disk.img', { headers: { range: 'bytes=1000-', 'if-range': '"other"' } });
    expect(changed.status).toBe(200);
    expect(gunzipSync(await bytes(await ask('volumes/disk/disk.img.gz'))).equals(disk)).toBe(true);
    const tar = await bytes(await ask('volumes/disk/disk.tar.gz'));
    expect(execFileSync('tar', ['-xzO', './disk.img'], { input: tar }).equals(disk)).toBe(true);
    expect(await ask('volumes/disk/disk.img', { method: 'HEAD' })).toMatchObject({ status: 200 });
  });

  it('never give a part for the whole', async () => {
    await startServed();
    cutOffAt = 2000;
    await expect(ask('volumes/disk/disk.img').then(bytes)).rejects.toThrow('2000 of 3000');
    await expect(ask('volumes/disk/disk.img.gz').then(bytes)).rejects.toThrow('2000 of 3000');
  });

  it('are there for those who have the token alone, and only for reading', async () => {
    await startServed();
    for (const token of ['', 'wrong'])
      expect(await ask('volumes/disk/disk.img', { headers: { 'x-kubevirt-export-token': token } })).toMatchObject({
        status: 401,
      });
    expect(await ask('volumes/disk/disk.img', { method: 'PUT' })).toMatchObject({ status: 400 });
    expect(await ask('volumes/other/disk.img')).toMatchObject({ status: 404 });
    expect(await ask('volumes/disk/../../x')).toMatchObject({ status: 404 });
    await world.client.delete(VirtualMachineExportKind, { namespace: 'a', name: 'out' });
    expect(await ask('volumes/disk/disk.img')).toMatchObject({ status: 401 });
  });

  it('give manifests whose disks come from the export', async () => {
    await startServed();
    const { body } = await ask('external/manifests/all', { headers: { accept: 'application/json' } });
    const { items } = JSON.parse(body as string) as { items: { kind: string; spec?: { source?: unknown } }[] };
    expect(items.map(({ kind }) => kind)).toEqual(['ConfigMap', 'VirtualMachine', 'DataVolume']);
    expect(items[2]?.spec?.source).toMatchObject({
      http: { certConfigMap: 'export-ca-cm-out', secretExtraHeaders: ['header-secret-out'] },
    });
    const secret = await ask('internal/manifests/secret', { headers: { accept: 'application/json' } });
    expect(secret.body).toContain('x-kubevirt-export-token:');
  });
});
