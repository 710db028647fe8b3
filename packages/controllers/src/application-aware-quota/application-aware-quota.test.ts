import {
  type Aaq,
  AaqKind,
  ApplicationAwareClusterResourceQuotaKind,
  ApplicationAwareResourceQuotaKind,
  NamespaceKind,
  PodKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { built, pod, simulatedNode, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { isPlatformOrTest, virtAdmission } from '../admission/testing/virt-admission.ts';
import { kubeVirtControllers } from '../virtual-machine/kubevirt-controllers.ts';
import { isGated, isNamespaceGated, withoutGate } from './gate.ts';
import { applicationAwareQuotaController, quotaGateAdmission } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const AAQ = built(AaqKind, 'aaq-kubevirt-hyperconverged', {
  spec: { configuration: { allowApplicationAwareClusterResourceQuota: true } },
});
const ENABLED = { 'application-aware-quota/enable-gating': '' };

/** Namespaces a and b wait for quotas, c does not. */
async function start(): Promise<void> {
  world = testWorld({
    api: 'server',
    controllers: [...kubeVirtControllers(SLIPWAY_PROFILE), applicationAwareQuotaController, simulatedNode().registration],
    admission: (client) => [
      ...virtAdmission(client),
      quotaGateAdmission({ isGating: (namespace) => namespace !== 'c', isPlatform: isPlatformOrTest }),
    ],
  });
  const namespace = (name: string) => built(NamespaceKind, name, { metadata: { name, labels: { team: 'red', ...ENABLED } } });
  await world.with(namespace('a'), namespace('b'), AAQ);
  await world.settle();
}

const quota = (hard: Record<string, string>) => built(ApplicationAwareResourceQuotaKind, 'a/guests', { spec: { hard } });
const guest = (key: string, memory: string) =>
  vm(key, {
    spec: {
      runStrategy: 'Always',
      template: { spec: { domain: { devices: {}, cpu: { cores: 2 }, memory: { guest: memory } } } },
    },
  });
const phase = async (key: string) => (await world.get(VirtualMachineInstanceKind, key)).status?.phase;
const gated = async (namespace: string) => (await world.list(PodKind, namespace)).filter(isGated);
const used = async () => (await world.get(ApplicationAwareResourceQuotaKind, 'a/guests')).status?.used;

describe('guests', () => {
  it('wait for a quota that counts their size, and start when another one ends', async () => {
    await start();
    await world.with(quota({ 'requests.memory/vmi': '3Gi', 'requests.instances/vmi': '5', 'requests.cpu/vmi': '8' }));
    await world.settle();
    await world.with(guest('a/one', '2Gi'));
    await world.settle();
    expect(await phase('a/one')).toBe('Running');
    expect(await used()).toEqual({ 'requests.memory/vmi': '2Gi', 'requests.instances/vmi': '1', 'requests.cpu/vmi': '2' });
    await world.with(guest('a/two', '2Gi'));
    await world.settle();
    expect(await phase('a/two')).toBe('Pending');
    expect(await gated('a')).toHaveLength(1);
    expect(await world.events()).toContain(
      'Warning QuotaExceeded exceeded quota: guests, requested: requests.memory/vmi=2Gi, used: requests.memory/vmi=2Gi, limited: requests.memory/vmi=3Gi',
    );
    const key = { namespace: 'a', name: 'one' };
    await world.client.patch(VirtualMachineKind, key, { spec: { runStrategy: 'Halted' } }, { type: 'merge' });
    await world.settle();
    expect(await phase('a/two')).toBe('Running');
    expect(await used()).toMatchObject({ 'requests.memory/vmi': '2Gi', 'requests.instances/vmi': '1' });
  });

  it('wait for a quota of several namespaces', async () => {
    await start();
    await world.with(
      built(ApplicationAwareClusterResourceQuotaKind, 'red', {
        spec: { selector: { labels: { matchLabels: { team: 'red' } } }, quota: { hard: { 'requests.memory/vmi': '3Gi' } } },
      }),
    );
    await world.settle();
    for (const key of ['a/one', 'b/two']) {
      await world.with(guest(key, '2Gi'));
      await world.settle();
    }
    expect([await phase('a/one'), await phase('b/two')]).toEqual(['Running', 'Pending']);
    expect((await world.get(ApplicationAwareClusterResourceQuotaKind, 'red')).status).toMatchObject({
      total: { used: { 'requests.memory/vmi': '2Gi' } },
      namespaces: [
        { namespace: 'a', status: { used: { 'requests.memory/vmi': '2Gi' } } },
        { namespace: 'b', status: { used: { 'requests.memory/vmi': '0' } } },
      ],
    });
    await world.client.patch(
      ApplicationAwareClusterResourceQuotaKind,
      { namespace: '', name: 'red' },
      { spec: { quota: { hard: { 'requests.memory/vmi': '4Gi' } } } },
      { type: 'merge' },
    );
    await world.settle();
    expect(await phase('b/two')).toBe('Running');
  });

  it('start when the quotas are switched off', async () => {
    await start();
    await world.with(quota({ 'requests.memory/vmi': '1Gi' }));
    await world.with(guest('a/one', '2Gi'));
    await world.settle();
    expect(await phase('a/one')).toBe('Pending');
    await world.client.delete(AaqKind, { namespace: '', name: 'aaq-kubevirt-hyperconverged' });
    await world.settle();
    expect(await phase('a/one')).toBe('Running');
  });
});

describe('pods', () => {
  it('of other namespaces do not wait', async () => {
    await start();
    await world.with(pod('c/plain'));
    expect(await gated('c')).toEqual([]);
  });

  it('are let go by nobody else', async () => {
    await start();
    await world.with(quota({ pods: '0' }));
    await world.with(pod('a/plain'));
    await world.settle();
    const [waiting] = await gated('a');
    if (waiting === undefined) throw new Error('It does not wait');
    const ann = world.clientOf({ username: 'ann', groups: ['system:masters'] });
    await expect(ann.update(PodKind, withoutGate(waiting))).rejects.toThrow('Only AAQ controller has permission');
    const placed = pod('a/placed', { spec: { nodeName: 'n', containers: [{ name: 'c', image: 'x' }] } });
    await expect(ann.create(PodKind, placed.object)).rejects.toThrow('spec.nodeName cannot be set');
  });

  it('are all that such a quota limits', async () => {
    await start();
    await expect(world.with(quota({ 'requests.storage': '1Gi' }))).rejects.toThrow('limit these in a ResourceQuota');
  });
});

describe('a namespace', () => {
  const namespace = (labels: Record<string, string>) => ({ metadata: { name: 'a', labels } });
  const aaq = (spec: NonNullable<Aaq['spec']>): Aaq => ({ ...AAQ.object, spec });
  const selected = aaq({ namespaceSelector: { matchLabels: { team: 'red' } } });
  it.each([
    ['with the label', true, aaq({}), ENABLED],
    ['without it', false, aaq({}), {}],
    ['that is selected', true, selected, { team: 'red' }],
    ['that is not', false, selected, ENABLED],
    ['where the quotas are off', false, undefined, ENABLED],
  ] as const)('%s waits: %s', (_, expected, object, labels) =>
    expect(isNamespaceGated(object, namespace(labels))).toBe(expected),
  );
});
