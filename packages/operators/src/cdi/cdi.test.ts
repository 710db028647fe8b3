import { type cdi, CDIConfigKind, CDIKind, DataVolumeKind, EndpointsKind, NamespaceKind, ServiceKind } from '@slipway/api';
import { type Built, built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiAdmission, HCO_NAME, HyperConvergedKind, operators } from '../index.ts';

let world: TestWorld;
afterEach(() => world.close());

const HCO = { namespace: 'openshift-cnv', name: HCO_NAME };
const CDI_OF_HCO = 'cdi-kubevirt-hyperconverged';
const REFUSAL =
  'rejecting the uninstall request, since there are still 1 DataVolumes present. Either delete all CDI related workloads or change the uninstall strategy before uninstalling CDI.';

async function start(settings: { readonly withHyperConverged?: boolean; readonly apiUrl?: string } = {}): Promise<void> {
  world = testWorld({
    api: 'server',
    controllers: operators,
    settings,
    admission: (client) => [cdiAdmission({ client })],
  });
  await world.settle();
}

const dataVolume = (name: string, labels: Record<string, string> = {}, finalizers: readonly string[] = []): Built =>
  built(DataVolumeKind, `shop/${name}`, {
    metadata: { labels, finalizers: [...finalizers] },
    spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } },
  });

const careful = (name: string, strategy = 'BlockUninstallIfWorkloadsExist'): Built =>
  built(CDIKind, name, { spec: { uninstallStrategy: strategy } });

const conditionsOf = ({ status }: cdi.CDI): Record<string, string> =>
  Object.fromEntries((status?.conditions ?? []).map(({ type, status: verdict }) => [type, verdict]));

describe('the CDI object', () => {
  it('is deployed with its finalizer, and says by annotation that its configuration rules', async () => {
    await start({ withHyperConverged: false });
    const object = await world.get(CDIKind, 'cdi');
    expect(object.metadata.finalizers).toEqual(['operator.cdi.kubevirt.io']);
    expect(object.metadata.annotations).toMatchObject({ 'cdi.kubevirt.io/configAuthority': '' });
    expect(object.status).toMatchObject({ phase: 'Deployed', operatorVersion: '0.0.0-test', observedVersion: '0.0.0-test' });
    expect(object.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Available', reason: 'DeployCompleted', message: 'Deployment Completed' }),
    );
  });

  it('is one: a second goes to Error, and takes over when the first is gone', async () => {
    await start({ withHyperConverged: false });
    await world.with(careful('other'), built(NamespaceKind, 'shop'), dataVolume('disk'));
    await world.settle();
    const second = await world.get(CDIKind, 'other');
    expect(second.status?.phase).toBe('Error');
    expect(conditionsOf(second)).toMatchObject({ Available: 'False', Degraded: 'True' });
    expect(second.status?.conditions?.[0]?.message).toContain('that is cdi');
    await world.client.delete(CDIKind, { namespace: '', name: 'cdi' });
    await world.advance(2_000);
    expect((await world.get(CDIKind, 'other')).status?.phase).toBe('Deployed');
  });

  it('takes a configuration over that was written before it', async () => {
    world = testWorld({ api: 'server', controllers: operators.filter(({ name }) => name !== 'hco-operator') });
    const config = { insecureRegistries: ['registry.local:5000'] };
    await world.with(
      built(NamespaceKind, 'openshift-cnv'),
      built(CDIConfigKind, 'config', { spec: config }),
      built(CDIKind, 'cdi', { spec: {} }),
    );
    await world.settle();
    expect((await world.get(CDIKind, 'cdi')).spec.config).toEqual(config);
    expect((await world.get(CDIConfigKind, 'config')).spec).toEqual(config);
  });

  it.each([
    ['goes', 'without DataVolumes', 'BlockUninstallIfWorkloadsExist', [], true],
    ['stays', 'while there are DataVolumes', 'BlockUninstallIfWorkloadsExist', [dataVolume('disk')], false],
    [
      'goes',
      'with DataVolumes that a cron keeps',
      'BlockUninstallIfWorkloadsExist',
      [dataVolume('golden', { 'cdi.kubevirt.io/dataImportCron': 'fedora' })],
      true,
    ],
    ['goes', 'with its DataVolumes, when that was asked for', 'RemoveWorkloads', [dataVolume('disk')], true],
  ] as const)('%s %s (%s)', async (_, __, strategy, objects, isDeleted) => {
    await start({ withHyperConverged: false });
    const key = { namespace: '', name: 'cdi' };
    await world.client.patch(CDIKind, key, { spec: { uninstallStrategy: strategy } }, { type: 'merge' });
    await world.with(built(NamespaceKind, 'shop'), ...objects);
    await world.settle();
    const refusal = await world.client.delete(CDIKind, key).then(
      () => '',
      (error: unknown) => String(error),
    );
    await world.advance(1_000);
    expect(refusal).toContain(isDeleted ? '' : `"cdi-validate.cdi.kubevirt.io" denied the request: ${REFUSAL}`);
    expect(await world.exists(CDIKind, 'cdi')).toBe(!isDeleted);
    expect(await world.list(DataVolumeKind, 'shop')).toHaveLength(isDeleted ? 0 : 1);
  });

  it('says how many DataVolumes it waits for', async () => {
    await start({ withHyperConverged: false });
    await world.with(built(NamespaceKind, 'shop'), dataVolume('held', {}, ['example.org/backup']), dataVolume('free'));
    await world.client.delete(CDIKind, { namespace: '', name: 'cdi' });
    await world.advance(1_000);
    const waiting = await world.get(CDIKind, 'cdi');
    expect(waiting.status?.phase).toBe('Deleting');
    expect(waiting.status?.conditions?.[0]?.message).toBe('Deletion was triggered, 1 workloads are being removed');
    const held = { namespace: 'shop', name: 'held' };
    await world.client.patch(DataVolumeKind, held, { metadata: { finalizers: null } }, { type: 'merge' });
    await world.advance(1_000);
    expect(await world.exists(CDIKind, 'cdi')).toBe(false);
  });

  it('keeps the HyperConverged above it, before anything is on its way out', async () => {
    await start();
    await world.with(built(NamespaceKind, 'shop'), dataVolume('disk'));
    await expect(world.client.delete(HyperConvergedKind, HCO)).rejects.toThrow(
      `"validate-hco.kubevirt.io" denied the request: ${REFUSAL}`,
    );
    expect((await world.get(CDIKind, CDI_OF_HCO)).metadata.deletionTimestamp).toBeUndefined();
    await world.client.patch(
      HyperConvergedKind,
      HCO,
      { spec: { deployment: { uninstallStrategy: 'RemoveWorkloads' } } },
      { type: 'merge' },
    );
    await world.settle();
    await world.client.delete(HyperConvergedKind, HCO);
    await world.advance(1_000);
    expect(await world.exists(HyperConvergedKind, HCO)).toBe(false);
    expect(await world.list(DataVolumeKind, 'shop')).toEqual([]);
  });
});

describe('the Service of the upload proxy', () => {
  it('leads to the API server when that can be reached from elsewhere', async () => {
    await start({ withHyperConverged: false, apiUrl: 'https://192.0.2.7:6443' });
    const service = await world.get(ServiceKind, 'openshift-cnv/cdi-uploadproxy');
    expect(service.spec?.ports).toMatchObject([{ port: 443 }]);
    expect(service.metadata.ownerReferences).toMatchObject([{ kind: 'CDI', name: 'cdi' }]);
    expect((await world.get(EndpointsKind, 'openshift-cnv/cdi-uploadproxy')).subsets).toEqual([
      { addresses: [{ ip: '192.0.2.7' }], ports: [{ name: 'https', port: 6443, protocol: 'TCP' }] },
    ]);
  });

  it('has no endpoint when the API server listens on this machine alone', async () => {
    await start({ withHyperConverged: false, apiUrl: 'https://127.0.0.1:6443' });
    expect(await world.exists(ServiceKind, 'openshift-cnv/cdi-uploadproxy')).toBe(true);
    expect(await world.exists(EndpointsKind, 'openshift-cnv/cdi-uploadproxy')).toBe(false);
  });
});
