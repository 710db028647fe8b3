import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';
import { diskLayer } from './src/push-image.ts';
import { type SmallRegistry, startSmallRegistry } from './src/small-registry.ts';

const BOOT_MS = 240_000;
const PATIENCE_MS = 120_000;
/** Where everybody may clone from. */
const IMAGES = 'openshift-virtualization-os-images';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}
interface Conditioned {
  status?: { phase?: string; conditions?: Condition[] };
}
interface DataSource extends Conditioned {
  metadata: { labels?: Record<string, string> };
  spec: { source: { pvc?: { name: string }; snapshot?: { name: string } } };
}
interface List {
  items: { metadata: { name: string } }[];
}

const has =
  (type: string, status = 'True', reason?: string) =>
  (object: Conditioned): boolean =>
    object.status?.conditions?.some((is) => is.type === type && is.status === status && (reason ?? is.reason) === is.reason) ===
    true;
const isReady = has('Ready');

const cron = (host: string) => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataImportCron',
  metadata: { name: 'tiny', namespace: IMAGES, labels: { 'instancetype.kubevirt.io/default-preference': 'linux' } },
  spec: {
    schedule: '0 0 1 1 *',
    managedDataSource: 'tiny',
    importsToKeep: 1,
    retentionPolicy: 'None',
    template: {
      spec: {
        source: { registry: { url: `docker://${host}/os/tiny:latest` } },
        storage: { resources: { requests: { storage: '128Mi' } } },
      },
    },
  },
});

const vm = {
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name: 'box', namespace: 'default' },
  spec: {
    runStrategy: 'Always',
    dataVolumeTemplates: [
      {
        metadata: { name: 'box-root' },
        spec: { sourceRef: { kind: 'DataSource', name: 'tiny', namespace: IMAGES }, storage: {} },
      },
    ],
    template: {
      spec: {
        domain: { memory: { guest: '128Mi' }, devices: { disks: [{ name: 'root', disk: { bus: 'virtio' } }] } },
        terminationGracePeriodSeconds: 0,
        volumes: [{ name: 'root', dataVolume: { name: 'box-root' } }],
      },
    },
  },
};

describe('a golden image', () => {
  let platform: Platform;
  let registry: SmallRegistry;
  let disk: Buffer;

  beforeAll(async () => {
    disk = readFileSync((await guestImage('tiny')).qcow2Path);
    registry = await startSmallRegistry();
    platform = await startPlatform();
    const insecure = { spec: { storageImport: { insecureRegistries: [registry.host] } } };
    const [namespace = '', name = ''] = (
      await platform.kubectl('get', 'hco', '-A', '-o', 'jsonpath={.items[0].metadata.namespace} {.items[0].metadata.name}')
    ).split(' ');
    await platform.kubectl('patch', 'hco', '-n', namespace, name, '--type=merge', '-p', JSON.stringify(insecure));
    await platform.until<{ spec: { insecureRegistries?: string[] } }>(
      'cdiconfig config',
      ({ spec }) => spec.insecureRegistries?.includes(registry.host) === true,
    );
  }, 480_000);

  afterAll(async () => {
    await registry?.close();
    await platform?.destroy();
  });

  /** Publishes the disk under another file name, which is another image. */
  const publish = (file: string): string => registry.tag('os/tiny', [diskLayer(file, disk)]);
  const importName = (digest: string): string => `tiny-${digest.slice('sha256:'.length, 'sha256:'.length + 12)}`;
  const look = () =>
    platform.kubectl('annotate', 'dic', 'tiny', '-n', IMAGES, 'cdi.kubevirt.io/storage.import.lastCronTime-', '--overwrite');
  const names = async (kind: string): Promise<string[]> => {
    const found: List = JSON.parse(await platform.kubectl('get', kind, '-n', IMAGES, '-o', 'json'));
    return found.items.map(({ metadata }) => metadata.name);
  };

  it('is imported, boots in a VM, follows its tag, becomes a snapshot, and goes with its cron', async () => {
    const first = importName(publish('one.qcow2'));
    await platform.apply(cron(registry.host));
    const source = await platform.until<DataSource>(`das tiny -n ${IMAGES}`, isReady, PATIENCE_MS);
    expect(source.spec.source.pvc?.name).toBe(first);
    expect(source.metadata.labels).toMatchObject({ 'instancetype.kubevirt.io/default-preference': 'linux' });
    await platform.until<Conditioned>(`dic tiny -n ${IMAGES}`, has('UpToDate', 'True', 'UpToDate'), PATIENCE_MS);

    await platform.apply(vm);
    await platform.until<Conditioned>('dv box-root', ({ status }) => status?.phase === 'Succeeded', PATIENCE_MS);
    const second = importName(publish('two.qcow2'));
    await look();
    await platform.until<DataSource>(`das tiny -n ${IMAGES}`, ({ spec }) => spec.source.pvc?.name === second, PATIENCE_MS);
    await platform.kubectl('wait', 'dv', first, '-n', IMAGES, '--for=delete', '--timeout=120s');
    expect(await names('dv')).toEqual([second]);
    // the clone does not need the image that it was made from
    await platform.until<Conditioned>('vmi box', has('AgentConnected'), BOOT_MS);

    const format = { spec: { dataImportCronSourceFormat: 'snapshot' } };
    await platform.kubectl('patch', 'storageprofile', 'local', '--type=merge', '-p', JSON.stringify(format));
    const third = importName(publish('three.qcow2'));
    await look();
    await platform.until<DataSource>(`das tiny -n ${IMAGES}`, ({ spec }) => spec.source.snapshot?.name === third, PATIENCE_MS);
    await platform.apply({
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataVolume',
      metadata: { name: 'restored', namespace: 'default' },
      spec: { sourceRef: { kind: 'DataSource', name: 'tiny', namespace: IMAGES }, storage: {} },
    });
    await platform.until<Conditioned>('dv restored', ({ status }) => status?.phase === 'Succeeded', PATIENCE_MS);

    await platform.kubectl('delete', 'dic', 'tiny', '-n', IMAGES);
    for (const kind of ['dv', 'das', 'volumesnapshot'])
      await platform.until<List>(
        `${kind} -n ${IMAGES}`,
        // the platform has DataSources of its own here
        ({ items }) => !items.some(({ metadata }) => metadata.name.startsWith('tiny')),
        PATIENCE_MS,
      );
  }, 900_000);
});
