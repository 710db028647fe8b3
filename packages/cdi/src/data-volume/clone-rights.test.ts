import {
  DataSourceKind,
  type DataVolume,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  VirtualMachineKind,
  VolumeCloneSourceKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import type { AdmissionRequest } from '@slipway/runtime';
import { built, pv, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';
import { dataVolumeAdmission, requesterOf } from './data-volume-admission.ts';

const local = storageClass('local', { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } });
const golden = [
  pv('golden'),
  pvc('images/golden', { spec: { volumeName: 'golden' }, status: { phase: 'Bound', capacity: { storage: '1Gi' } } }),
];
const dataSource = built(DataSourceKind, 'team/golden', { spec: { source: { pvc: { namespace: 'images', name: 'golden' } } } });
const PVC = { source: { pvc: { namespace: 'images', name: 'golden' } }, storage: {} };
const SNAPSHOT = { source: { snapshot: { namespace: 'images', name: 'golden' } }, storage: {} };
const REFERENCE = { sourceRef: { kind: 'DataSource', name: 'golden' }, storage: {} };
const VM_CONTROLLER = 'system:serviceaccount:openshift-cnv:virtualmachine-controller';

let world: TestWorld;
/** `user resource[/subresource]` of what is allowed in namespace `images`. */
let allowed: Set<string>;
beforeEach(() => {
  allowed = new Set();
  world = testWorld({ controllers: cdiControllers });
  const raw: Client['raw'] = async ({ body }) => {
    const { spec } = body as { spec: { user: string; resourceAttributes: Record<string, string> } };
    const { resource, subresource, namespace, verb } = spec.resourceAttributes;
    const right = `${spec.user} ${resource}${subresource ? `/${subresource}` : ''}`;
    return {
      status: 201,
      headers: {},
      body: { status: { allowed: verb === 'create' && namespace === 'images' && allowed.has(right) } },
    };
  };
  Object.assign(world.client, { raw });
});
afterEach(() => world.close());

const disk = (spec: object, annotations: Record<string, string> = {}, owner?: object) =>
  built(DataVolumeKind, 'team/disk', { metadata: { annotations, ...(owner && { ownerReferences: [owner] }) }, spec });

function admit(object: DataVolume, username = 'joe') {
  const { client } = world;
  const handler = dataVolumeAdmission({ client, findClaim: async () => undefined });
  const request = { operation: 'CREATE', namespace: 'team', name: 'disk', user: { username, groups: [] }, object };
  return handler.mutate?.(request as unknown as AdmissionRequest);
}

describe('admission of a clone from another namespace', () => {
  it.each<[string, object, readonly string[], boolean]>([
    ['nobody who may nothing', PVC, [], false],
    ['who may clone', PVC, ['joe datavolumes/source'], true],
    ['who may create pods', PVC, ['joe pods'], true],
    ['nobody who may create pods, when it is a snapshot', SNAPSHOT, ['joe pods'], false],
    ['who may do everything, when it is a snapshot', SNAPSHOT, ['joe pods', 'joe pvcs'], true],
    ['who may clone, when it is a snapshot', SNAPSHOT, ['joe datavolumes/source'], true],
    ['nobody who goes by a DataSource of his own', REFERENCE, [], false],
    ['who may clone and goes by a DataSource', REFERENCE, ['joe datavolumes/source'], true],
    ['who may clone and names a DataSource that does not exist', { sourceRef: { kind: 'DataSource', name: 'x' } }, [], true],
    ['who clones in his own namespace', { source: { pvc: { namespace: 'team', name: 'x' } } }, [], true],
  ])('lets in %s', async (_, spec, rights, isIn) => {
    for (const right of rights) allowed.add(right);
    await world.with(dataSource);
    const answer = admit(disk(spec).object);
    if (isIn) await answer;
    else
      await expect(answer).rejects.toMatchObject({
        message: expect.stringContaining('User joe has insufficient permissions in clone source namespace images'),
        status: { details: { causes: [{ field: 'spec.source.PVC.namespace' }] } },
      });
  });

  it('asks nobody about a disk that is filled already', async () => {
    await admit(disk(PVC, { 'cdi.kubevirt.io/storage.prePopulated': 'disk' }).object);
  });

  it('records who asked, and the VM that the disk is for, whatever the client says', async () => {
    allowed.add(`${VM_CONTROLLER} datavolumes/source`);
    const owner = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: 'vm', uid: '1', controller: true };
    const forged = { 'slipway.dev/requester': '{"username":"root"}' };
    const admitted = (await admit(disk(PVC, forged, owner).object, VM_CONTROLLER)) as unknown as DataVolume;
    expect(requesterOf(admitted)).toEqual({ username: VM_CONTROLLER, groups: [], virtualMachine: 'vm' });
  });
});

describe('a clone that begins', () => {
  const recorded = (requester: object) => ({ 'slipway.dev/requester': JSON.stringify({ groups: [], ...requester }) });
  const bound = async () =>
    (await world.get(DataVolumeKind, 'team/disk')).status?.conditions?.find(({ type }) => type === 'Bound');

  it('asks again: the right may be gone, or the DataSource may point elsewhere', async () => {
    await world.with(local, ...golden, dataSource, disk(REFERENCE, recorded({ username: 'joe' })));
    await world.settle();
    expect(await bound()).toMatchObject({
      reason: 'ErrUnableToClone',
      message: 'User joe has insufficient permissions in clone source namespace images',
    });
    expect(await world.exists(PersistentVolumeClaimKind, 'team/disk')).toBe(false);
  });

  it("needs the right of the VM's service account too", async () => {
    const volumes = [{ name: 'account', serviceAccount: { serviceAccountName: 'app' } }];
    const vm = built(VirtualMachineKind, 'team/vm', { spec: { template: { spec: { volumes } } } });
    const account = 'system:serviceaccount:team:app';
    allowed.add(`${VM_CONTROLLER} datavolumes/source`);
    const requester = recorded({ username: VM_CONTROLLER, virtualMachine: 'vm' });
    await world.with(local, ...golden, vm, disk(PVC, requester));
    await world.settle();
    expect(await bound()).toMatchObject({
      message: `User ${account} has insufficient permissions in clone source namespace images`,
    });
    allowed.add(`${account} datavolumes/source`);
    await world.advance(30_000);
    expect(await world.exists(PersistentVolumeClaimKind, 'team/disk')).toBe(true);
    expect(await world.list(VolumeCloneSourceKind, 'images')).toHaveLength(1);
  });

  it('is not what somebody writes into the claim of another disk', async () => {
    allowed.add('joe datavolumes/source');
    const blank = { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } };
    await world.with(local, ...golden, disk(blank, { ...recorded({ username: 'joe' }), 'k8s.io/CloneRequest': 'images/golden' }));
    await world.settle();
    const { metadata } = await world.get(PersistentVolumeClaimKind, 'team/disk');
    expect(metadata.annotations).not.toHaveProperty(['k8s.io/CloneRequest']);
    const edited = { metadata: { annotations: { 'k8s.io/CloneRequest': 'images/golden' } } };
    await world.client.patch(PersistentVolumeClaimKind, { namespace: 'team', name: 'disk' }, edited, { type: 'merge' });
    await world.settle();
    expect(await world.list(VolumeCloneSourceKind, 'images')).toHaveLength(0);
  });
});
