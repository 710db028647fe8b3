import { NamespaceKind, NodeKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { HCO_NAME, type HyperConverged, HyperConvergedKind, operators } from '../index.ts';
import { hyperConvergedAdmission } from './admission.ts';
import { convertHyperConverged } from './convert-versions.ts';

let world: TestWorld;
afterEach(() => world.close());
const KEY = { namespace: 'openshift-cnv', name: HCO_NAME };
const flatKind = { ...HyperConvergedKind, version: 'v1beta1' };

async function start(): Promise<void> {
  world = testWorld({
    api: 'server',
    controllers: operators,
    admission: (client) => [hyperConvergedAdmission({ client })],
    fieldConverters: new Map([['hco.kubevirt.io/HyperConverged', convertHyperConverged]]),
  });
  await world.settle();
}
const patch = (spec: object, annotations: Record<string, string> = {}, kind = HyperConvergedKind): Promise<HyperConverged> =>
  world.client.patch(kind, KEY, { spec, metadata: { annotations } }, { type: 'merge' });

describe('admission of the HyperConverged', () => {
  it.each([HyperConvergedKind, flatKind])('takes a flat field again and again, by $version', async (kind) => {
    await start();
    await patch({ storageImport: { insecureRegistries: ['a:1'] } }, {}, kind);
    await world.settle();
    await patch({ storageImport: { insecureRegistries: ['b:2'] } }, {}, kind);
    const { spec } = await world.get(HyperConvergedKind, KEY);
    expect(spec).toMatchObject({ storage: { storageImport: { insecureRegistries: ['b:2'] } } });
    expect(spec).not.toHaveProperty('storageImport');
    expect((await world.get(flatKind, KEY)).spec).toMatchObject({ storageImport: { insecureRegistries: ['b:2'] } });
  });

  it('adds defaults that the schema cannot know', async () => {
    await start();
    expect((await world.get(HyperConvergedKind, KEY)).spec).toMatchObject({ virtualization: { ksmConfiguration: {} } });
    const worker = { metadata: { labels: { 'node-role.kubernetes.io/worker': '' } } };
    await world.with(built(NodeKind, 'a', worker), built(NodeKind, 'b', worker));
    await patch({ virtualization: { tuningPolicy: 'highBurst' } });
    const { spec } = await world.get(HyperConvergedKind, KEY);
    expect(spec).not.toHaveProperty('virtualization.evictionStrategy');
    expect(spec).not.toHaveProperty('virtualization.tuningPolicy');
  });

  it.each([
    [{ security: { certConfig: { server: { duration: '5m' } } } }, 'certConfig.server.duration'],
    [
      { security: { certConfig: { ca: { duration: '13h', renewBefore: '12h' } } } },
      'ca.duration is smaller than server.duration',
    ],
    [{ security: { certConfig: { ca: { renewBefore: '49h' } } } }, 'duration is smaller than renewBefore'],
    [{ security: { tlsSecurityProfile: { type: 'Custom', custom: { ciphers: ['AES128-SHA'] } } } }, 'http2 needs'],
    [{ networking: { kubeMacPoolConfiguration: { rangeStart: '02:00:00:00:00:00' } } }, 'both rangeStart and rangeEnd'],
    [{ virtualization: { tuningPolicy: 'annotation' } }, 'annotation hco.kubevirt.io/tuningPolicy is missing'],
    [{ workloadSources: { dataImportCronTemplates: [{ metadata: { name: 'x' } }] } }, 'spec is empty'],
  ])('refuses %j', async (spec, reason) => {
    await start();
    await expect(patch(spec)).rejects.toThrow(reason);
  });

  it('refuses patches of operands that cannot be applied', async () => {
    await start();
    const annotations = { 'kubevirt.kubevirt.io/jsonpatch': '[{"op":"remove","path":"/metadata/name"}]' };
    await expect(patch({}, annotations)).rejects.toThrow('can only modify spec fields');
  });

  it('keeps the namespace while the HyperConverged is in it', async () => {
    await start();
    const remove = () => world.client.delete(NamespaceKind, { namespace: '', name: 'openshift-cnv' });
    await expect(remove()).rejects.toThrow('HyperConverged CR is still present');
    await world.client.delete(HyperConvergedKind, KEY);
    await world.settle();
    await remove();
  });
});
