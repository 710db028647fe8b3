import {
  DataVolumeKind,
  HostPathProvisionerKind,
  NodeKind,
  PriorityClassKind,
  STORAGE_POOLS_ANNOTATION,
  StorageClassKind,
  type StoragePoolReport,
  KubeVirtKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { virtApiRules, virtualMachineSubresources } from '@slipway/controllers';
import { KUBEVIRT_NAME } from '@slipway/operators';
import { allow, type ControllerRegistration, type RouteRequest } from '@slipway/runtime';
import { built } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { KUBEVIRT_VERSION } from '../version.ts';
import { expectFiring, MINUTE, patch, workingPlatform } from './testing/faults.ts';
import { type MonitoredWorld, monitoredWorld } from './testing/monitored-world.ts';

let monitored: MonitoredWorld;
afterEach(() => monitored?.world.close());

describe('faults of storage', { timeout: 60_000 }, () => {
  it('a DataVolume that waits for a class, when no class is the default any more', async () => {
    monitored = await workingPlatform();
    const { world } = monitored;
    for (const { metadata } of await world.list(StorageClassKind))
      await patch(world, StorageClassKind, { name: metadata.name ?? '' }, { metadata: { annotations: NO_DEFAULT } });
    const spec = { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } };
    await world.with(built(DataVolumeKind, 'shop/disk', { spec }));
    await world.settle();
    await expectFiring(monitored, ['CDINoDefaultStorageClass'], 5 * MINUTE);
  });

  it('a hostpath provisioner whose pool a node does not have, and one on the file system of the system', async () => {
    monitored = await workingPlatform();
    const { world } = monitored;
    const pool = { name: 'fast', path: '/srv/fast' };
    await world.with(built(HostPathProvisionerKind, 'hostpath-provisioner', { spec: { storagePools: [pool] } }));
    await world.settle();
    await expectFiring(monitored, ['HPPNotReady'], 5 * MINUTE);
    const report: StoragePoolReport = {
      ...pool,
      ...{ totalBytes: 100, freeBytes: 60, promisedBytes: 0, usedBytes: 0, volumes: 0, isSharedWithSystem: true },
    };
    const annotations = { [STORAGE_POOLS_ANNOTATION]: JSON.stringify([report]) };
    await patch(world, NodeKind, { name: 'node1' }, { metadata: { annotations } });
    await world.settle();
    await expectFiring(monitored, ['HPPSharingPoolPathWithOS'], MINUTE);
    expect(monitored.firing()).not.toContain('HPPNotReady');
  });
});

const NO_DEFAULT = {
  'storageclass.kubernetes.io/is-default-class': null,
  'storageclass.kubevirt.io/is-default-virt-class': null,
};

describe('requests of the platform that fail', { timeout: 120_000 }, () => {
  it('those of controllers and operator, when a policy of an administrator refuses what they write', async () => {
    monitored = await workingPlatform();
    const { world } = monitored;
    await world.with(POLICY, BINDING);
    await world.client.delete(PriorityClassKind, { namespace: '', name: 'kubevirt-cluster-critical' });
    await world.settle();
    await again(async (round) => {
      // both have something to do each time
      const spec = { runStrategy: 'Always', template: { spec: { domain: { devices: {} } } } };
      await world.with(built(VirtualMachineKind, `shop/vm-${round}`, { spec }));
      const labels = { round: String(round) };
      await patch(world, KubeVirtKind, { namespace: 'openshift-cnv', name: KUBEVIRT_NAME }, { metadata: { labels } });
    });
    await expectFiring(monitored, ['VirtControllerRESTErrorsBurst', 'VirtOperatorRESTErrorsBurst'], MINUTE);
  });

  it('those of the API for what does not exist, and those of an agent without rights', async () => {
    const clients = new Map<string, Client>();
    const part = (name: string, rules: ControllerRegistration['rules']): ControllerRegistration => ({
      name,
      ...(rules && { rules }),
      create({ client }) {
        clients.set(name, client);
        return {};
      },
    });
    monitored = await workingPlatform({ more: [part('virt-api', virtApiRules), part('node', allow('get', NodeKind))] });
    const [api, agent] = [clients.get('virt-api'), clients.get('node')];
    if (api === undefined || agent === undefined) throw new Error('The parts were not made');
    const start = startRoute(api);
    await again(async () => {
      const request = { namespace: 'shop', name: 'nobody', body: {}, signal: new AbortController().signal };
      await expect(start(request as unknown as RouteRequest)).rejects.toThrow('not found'); // what the route looks at
      await expect(agent.get(VirtualMachineInstanceKind, { namespace: 'shop', name: 'web' })).rejects.toThrow('forbidden');
    });
    await expectFiring(monitored, ['VirtApiRESTErrorsBurst', 'VirtHandlerRESTErrorsBurst'], MINUTE);
  });
});

/** Long enough for a rule that wants it for five minutes: each round takes two. */
async function again(fault: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await fault(round);
    await monitored.evaluateAfter(MINUTE);
  }
  await fault(5);
}

function startRoute(client: Client): (request: RouteRequest) => Promise<unknown> {
  const { routes } = virtualMachineSubresources({
    ...{ client, nodes: monitored.world.nodes, version: KUBEVIRT_VERSION },
    config: () => clusterConfig(),
    expandVm: async (vm) => vm, // starting does not ask
  });
  const route = routes.find(({ resource, subresource }) => resource === 'virtualmachines' && subresource === 'start');
  const handle = route?.methods['PUT'];
  if (handle === undefined) throw new Error('There is no such route');
  return handle;
}

const admissionKind = (kind: string, plural: string): ResourceKind<KubeObject> => ({
  ...{ group: 'admissionregistration.k8s.io', version: 'v1', kind, plural, namespaced: false },
});
const POLICY = built(admissionKind('ValidatingAdmissionPolicy', 'validatingadmissionpolicies'), 'freeze', {
  spec: {
    failurePolicy: 'Fail',
    matchConstraints: {
      resourceRules: [
        { apiGroups: ['kubevirt.io', 'scheduling.k8s.io'], apiVersions: ['*'], operations: ['*'], resources: ['*/*'] },
      ],
    },
    validations: [{ expression: '!request.userInfo.username.startsWith("system:serviceaccount:")', message: 'frozen' }],
  },
});
const BINDING = built(admissionKind('ValidatingAdmissionPolicyBinding', 'validatingadmissionpolicybindings'), 'freeze', {
  spec: { policyName: 'freeze', validationActions: ['Deny'] },
});

/** In the product they are in one process with who evaluates the rules; here they are left out of it. */
describe('parts that do not run', { timeout: 60_000 }, () => {
  it('are missed', async () => {
    monitored = await monitoredWorld({
      without: ['kubevirt-metrics', 'common-templates', 'template-validator', 'cdi-metrics'],
    });
    await monitored.world.settle();
    await monitored.evaluateAfter(60 * MINUTE);
    expect(monitored.firing()).toEqual(
      expect.arrayContaining([
        ...['VirtAPIDown', 'VirtControllerDown', 'VirtOperatorDown', 'VirtHandlerDown'],
        ...['NoReadyVirtAPI', 'NoReadyVirtController', 'NoReadyVirtOperator', 'NoReadyVirtHandler'],
        ...['NoLeadingVirtController', 'NoLeadingVirtOperator'],
        ...['LowVirtAPICount', 'LowVirtControllersCount', 'LowVirtOperatorCount'],
        ...['SSPDown', 'SSPTemplateValidatorDown', 'CDIOperatorDown'],
      ]),
    );
  });
});
