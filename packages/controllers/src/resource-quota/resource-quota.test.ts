import { ConfigMapKind, PodKind, ResourceQuotaKind, ServiceKind } from '@slipway/api';
import { built, pod, pvc, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { resourceQuotaController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const quota = (hard: Record<string, string>, more: object = {}) => built(ResourceQuotaKind, 'a/q', { spec: { hard, ...more } });
const sized = (name: string, phase = 'Running') =>
  pod(`a/${name}`, {
    spec: {
      nodeName: 'n',
      containers: [
        { name: 'c', image: 'x', resources: { requests: { cpu: '250m', memory: '64Mi' }, limits: { memory: '1Gi' } } },
      ],
    },
    status: { phase },
  });
const usedOf = async () => (await world.get(ResourceQuotaKind, 'a/q')).status?.used;

describe('resource quotas', () => {
  it('add up what pods ask for until they end', async () => {
    const hard = { pods: '5', cpu: '1', 'requests.memory': '1Gi', 'limits.memory': '4Gi', 'count/pods': '9' };
    world = await testWorld({ api: 'server', controllers: [resourceQuotaController] }).with(quota(hard));
    await world.settle();
    expect(await usedOf()).toEqual({ pods: '0', cpu: '0', 'requests.memory': '0', 'limits.memory': '0', 'count/pods': '0' });
    await world.with(sized('one'), sized('two'), sized('over', 'Succeeded'));
    await world.settle();
    expect(await usedOf()).toEqual({
      pods: '2',
      cpu: '500m',
      'requests.memory': '128Mi',
      'limits.memory': '2Gi',
      'count/pods': '3',
    });
    await world.client.delete(PodKind, { namespace: 'a', name: 'one' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await usedOf()).toMatchObject({ pods: '1', cpu: '250m' });
  });

  it('count claims, services and any other kind', async () => {
    const hard = {
      'requests.storage': '10Gi',
      'local.storageclass.storage.k8s.io/requests.storage': '10Gi',
      'services.nodeports': '3',
      'count/configmaps': '5',
      configmaps: '5',
      'count/virtualmachines.kubevirt.io': '2',
    };
    world = await testWorld({ api: 'server', controllers: [resourceQuotaController] }).with(quota(hard));
    await world.settle();
    await world.with(
      pvc('a/one'),
      pvc('a/two', { spec: { storageClassName: 'other', resources: { requests: { storage: '512Mi' } } } }),
      built(ServiceKind, 'a/s', { spec: { type: 'NodePort', ports: [{ port: 80 }] } }),
      built(ConfigMapKind, 'a/c'),
    );
    await world.settle();
    expect(await usedOf()).toEqual({
      'requests.storage': '1536Mi',
      'local.storageclass.storage.k8s.io/requests.storage': '1Gi',
      'services.nodeports': '1',
      'count/configmaps': '1',
      configmaps: '1',
      'count/virtualmachines.kubevirt.io': '0',
    });
    await world.with(built(ConfigMapKind, 'a/d'));
    await world.settle();
    expect(await usedOf()).toMatchObject({ 'count/configmaps': '2', configmaps: '2' });
  });

  it('look only at the pods of their scopes', async () => {
    world = await testWorld({ api: 'server', controllers: [resourceQuotaController] }).with(
      quota({ pods: '5' }, { scopes: ['BestEffort'] }),
    );
    await world.settle();
    await world.with(sized('sized'), pod('a/best'));
    await world.settle();
    expect(await usedOf()).toEqual({ pods: '1' });
  });
});
