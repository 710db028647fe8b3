import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestPid } from './src/guests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

interface Meta {
  name: string;
  uid: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
interface Vm {
  metadata: Meta;
  spec: { template: { spec: { hostname?: string } } };
}
interface Vmi {
  metadata: Meta;
  spec: { hostname?: string; domain: { cpu?: { sockets?: number } } };
  status?: { phase?: string };
}
interface List<T> {
  items: T[];
}
interface Group {
  spec: { replicas?: number };
  status?: { replicas?: number; readyReplicas?: number; labelSelector?: string; conditions?: { type: string }[] };
}

const SOON_MS = 120_000;
const names = <T extends { metadata: Meta }>({ items }: List<T>): string[] => items.map(({ metadata }) => metadata.name).sort();
const areRunning = ({ items }: List<Vmi>, count: number): boolean =>
  items.length === count && items.every(({ status }) => status?.phase === 'Running');

/** A guest without an operating system: it starts at once. */
const guest = (more: object = {}) => ({
  domain: { memory: { guest: '64Mi' }, devices: { disks: [{ name: 'scratch', disk: { bus: 'virtio' } }] } },
  terminationGracePeriodSeconds: 0,
  volumes: [{ name: 'scratch', emptyDisk: { capacity: '16Mi' } }],
  ...more,
});

describe('groups of guests', () => {
  let platform: Platform;

  beforeAll(async () => {
    platform = await startPlatform();
  });
  afterAll(() => platform?.destroy());

  const labelled = (app: string, resource: string): string => `${resource} -l app=${app}`;
  const scale = (resource: string, replicas: number) => platform.kubectl('scale', resource, `--replicas=${replicas}`);

  it('a replica set replaces what ends, and follows kubectl and an autoscaler', async () => {
    await platform.apply({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstanceReplicaSet',
      metadata: { name: 'set', namespace: 'default' },
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: 'set' } },
        template: { metadata: { labels: { app: 'set' } }, spec: guest() },
      },
    });
    const all = labelled('set', 'vmi');
    const first = await platform.until<List<Vmi>>(all, (list) => areRunning(list, 1), SOON_MS);
    process.kill(await guestPid(platform, first.items[0]?.metadata.name ?? ''), 'SIGKILL');
    await platform.until<List<Vmi>>(
      all,
      (list) => areRunning(list, 1) && list.items[0]?.metadata.uid !== first.items[0]?.metadata.uid,
      SOON_MS,
    );
    await scale('vmirs/set', 2);
    await platform.until<List<Vmi>>(all, (list) => areRunning(list, 2), SOON_MS);
    await platform.apply({
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'set', namespace: 'default' },
      spec: {
        scaleTargetRef: { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstanceReplicaSet', name: 'set' },
        minReplicas: 1,
        maxReplicas: 1,
      },
    });
    const set = await platform.until<Group>('vmirs set', ({ status }) => status?.replicas === 1, SOON_MS);
    expect([set.spec.replicas, set.status?.labelSelector]).toEqual([1, 'app=set']);
    await platform.kubectl('delete', 'hpa/set', 'vmirs/set', '--timeout=60s');
    await platform.kubectl('wait', '--for=delete', 'vmi', '-l', 'app=set', '--timeout=60s');
  });

  it('a pool names its members, and lets those go that its policy names', async () => {
    const pool = (spec: object, hostname?: string): object => ({
      apiVersion: 'pool.kubevirt.io/v1beta1',
      kind: 'VirtualMachinePool',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'web' } },
        scaleInStrategy: { proactive: { selectionPolicy: { sortPolicy: 'AscendingOrder' } } },
        ...spec,
        virtualMachineTemplate: {
          metadata: { labels: { app: 'web' } },
          spec: {
            runStrategy: 'Always',
            template: { metadata: { labels: { app: 'web' } }, spec: guest(hostname === undefined ? {} : { hostname }) },
          },
        },
      },
    });
    const [vms, vmis] = [labelled('web', 'vm'), labelled('web', 'vmi')];
    await platform.apply(pool({}));
    const members = await platform.until<List<Vmi>>(vmis, (list) => areRunning(list, 2), SOON_MS);
    expect(names(members)).toEqual(['web-0', 'web-1']);
    await scale('vmpool/web', 1);
    const kept = await platform.until<List<Vm>>(vms, ({ items }) => items.length === 1, SOON_MS);
    expect(names(kept)).toEqual(['web-1']);

    // opportunistic: the VM follows its template, the guest when it starts again
    await platform.apply(pool({ replicas: 1, updateStrategy: { opportunistic: {} } }, 'later'));
    await platform.until<Vm>('vm web-1', ({ spec }) => spec.template.spec.hostname === 'later', SOON_MS);
    const same = await platform.until<Vmi>('vmi web-1', () => true);
    expect(same.metadata.uid).toBe(members.items.find(({ metadata }) => metadata.name === 'web-1')?.metadata.uid);
    // proactive: the guest is started again
    await platform.apply(pool({ replicas: 1, updateStrategy: { proactive: {} } }, 'now'));
    const next = await platform.until<Vmi>(
      'vmi web-1',
      ({ metadata, spec, status }) =>
        metadata.uid !== same.metadata.uid && spec.hostname === 'now' && status?.phase === 'Running',
      SOON_MS,
    );
    expect(next.metadata.labels?.['kubevirt.io/vm-pool-revision-name']).toMatch(/^web-\d+$/);

    await platform.apply(pool({ replicas: 2, paused: true }, 'now'));
    await platform.until<Group>(
      'vmpool web',
      ({ status }) => status?.conditions?.some(({ type }) => type === 'ReplicaPaused') === true,
      SOON_MS,
    );
    expect(names(JSON.parse(await platform.kubectl('get', 'vm', '-l', 'app=web', '-o', 'json')) as List<Vm>)).toEqual(['web-1']);
    await platform.apply(pool({ replicas: 2 }, 'now'));
    const again = await platform.until<List<Vmi>>(vmis, (list) => areRunning(list, 2), SOON_MS);
    expect(names(again)).toEqual(['web-0', 'web-1']);
    await platform.kubectl('delete', 'vmpool/web', '--timeout=60s');
    await platform.kubectl('wait', '--for=delete', 'vm', '-l', 'app=web', '--timeout=90s');
  });

  it('a preset gives what an instance leaves open', async () => {
    await platform.apply({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstancePreset',
      metadata: { name: 'two-sockets', namespace: 'default' },
      spec: { selector: { matchLabels: { size: 'two' } }, domain: { cpu: { sockets: 2 }, devices: {} } },
    });
    const instance = (name: string, annotations: Record<string, string>): object => ({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstance',
      metadata: { name, namespace: 'default', labels: { size: 'two' }, annotations },
      spec: guest(),
    });
    await platform.apply(instance('preset', {}));
    await platform.apply(instance('excluded', { 'virtualmachineinstancepresets.admission.kubevirt.io/exclude': 'true' }));
    const isRunning = ({ status }: Vmi): boolean => status?.phase === 'Running';
    const vmi = await platform.until<Vmi>('vmi preset', isRunning, SOON_MS);
    expect(vmi.spec.domain.cpu?.sockets).toBe(2);
    expect(vmi.metadata.annotations?.['virtualmachinepreset.kubevirt.io/two-sockets']).toBe('kubevirt.io/v1');
    expect((await platform.until<Vmi>('vmi excluded', isRunning, SOON_MS)).spec.domain.cpu?.sockets).toBe(1);
    await platform.kubectl('delete', 'vmi/preset', 'vmi/excluded', '--timeout=60s');
  });
});
