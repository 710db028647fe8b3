import { notFound, type StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionRequest } from '@slipway/runtime';
import { clusterConfig } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { isPlatformUser, platformUserIn, virtAdmissionHandlers } from './index.ts';

const UUID = '00000000-0000-4000-8000-000000000001';

/** Reads from a list of objects; clones from other namespaces are never allowed. */
function clientOf(objects: readonly UnstructuredObject[]): Client {
  const client: Partial<Client> = {
    get: async (kind, key) => {
      const found = objects.find((object) => object.kind === kind.kind && object.metadata.name === key.name);
      if (!found) throw notFound({ resource: kind.plural, group: kind.group }, key.name);
      return found as never; // stored as its kind
    },
    list: async (kind) => ({ items: objects.filter((object) => object.kind === kind.kind) }) as never, // as above
    raw: async () => ({ status: 201, headers: {}, body: { status: { allowed: false } } }),
  };
  return client as Client; // the handlers use these three alone
}

const RESOURCES: Readonly<Record<string, [group: string, resource: string]>> = {
  VirtualMachine: ['kubevirt.io', 'virtualmachines'],
  VirtualMachineInstance: ['kubevirt.io', 'virtualmachineinstances'],
  VirtualMachineInstanceMigration: ['kubevirt.io', 'virtualmachineinstancemigrations'],
  VirtualMachinePool: ['pool.kubevirt.io', 'virtualmachinepools'],
  VirtualMachineSnapshot: ['snapshot.kubevirt.io', 'virtualmachinesnapshots'],
};

interface Attempt {
  readonly old?: UnstructuredObject;
  readonly stored?: readonly UnstructuredObject[];
  readonly username?: string;
}

/** Runs an object through every handler that wants it, as the API server does. */
async function admit(
  object: UnstructuredObject,
  { old, stored = [], username = 'alice' }: Attempt = {},
): Promise<UnstructuredObject> {
  const [group, resource] = RESOURCES[object.kind] ?? ['', ''];
  const deps = {
    client: clientOf(stored),
    config: () => clusterConfig(),
    now: () => new Date(0),
    newUuid: () => UUID,
    isPlatform: isPlatformUser,
  };
  const operation = old ? 'UPDATE' : 'CREATE';
  const handlers = virtAdmissionHandlers(deps).filter(({ rules }) =>
    rules.some((rule) => rule.group === group && rule.resources.includes(resource)),
  );
  const request = (current: UnstructuredObject): AdmissionRequest => ({
    operation,
    group,
    version: 'v1',
    kind: object.kind,
    resource,
    subresource: '',
    namespace: 'shop',
    name: object.metadata.name ?? '',
    user: { username, groups: [] },
    dryRun: false,
    object: current,
    ...(old && { oldObject: old }),
  });
  let current = object;
  for (const handler of handlers) current = (await handler.mutate?.(request(current))) ?? current;
  for (const handler of handlers) await handler.validate?.(request(current));
  return current;
}

const make = (kind: string, spec: object, more: object = {}): UnstructuredObject => ({
  apiVersion: kind.includes('Instancetype') ? 'instancetype.kubevirt.io/v1beta1' : 'kubevirt.io/v1',
  kind,
  metadata: { name: 'web', namespace: 'shop' },
  spec,
  ...more,
});
const vmi = (spec: object = {}) =>
  make('VirtualMachineInstance', { domain: { devices: {}, memory: { guest: '256Mi' } }, ...spec });
const vm = (spec: object = {}, template: object = {}) =>
  make('VirtualMachine', {
    runStrategy: 'Halted',
    template: { spec: { domain: { devices: {}, memory: { guest: '1Gi' } }, ...template } },
    ...spec,
  });
const refusal = async (attempt: Promise<unknown>): Promise<StatusError['status']> =>
  attempt.then(
    () => Promise.reject(new Error('was admitted')),
    (error: StatusError) => error.status,
  );

describe('instances', () => {
  it('are stored defaulted and pending', async () => {
    const stored = await admit(vmi());
    expect(stored['status']).toMatchObject({
      phase: 'Pending',
      phaseTransitionTimestamps: [{ phase: 'Pending', phaseTransitionTimestamp: '1970-01-01T00:00:00Z' }],
    });
    expect(stored['spec']).toMatchObject({ domain: { firmware: { uuid: UUID }, machine: { type: 'q35' } } });
  });

  it('are refused with causes by field', async () => {
    const { code, reason, message, details } = await refusal(admit(vmi({ startStrategy: 'Later' })));
    expect([code, reason]).toEqual([422, 'Invalid']);
    expect(message).toMatch(/^admission webhook "virtualmachineinstances-create-validator.kubevirt.io" denied the request: /);
    expect(details?.causes?.map(({ field }) => field)).toEqual(['spec.startStrategy']);
  });

  it.each<[string, object, number, RegExp]>([
    [
      'a wrong type',
      { domain: { devices: {}, cpu: { cores: 'two' } } },
      422,
      /spec\.domain\.cpu\.cores in body must be of type integer: "string"/,
    ],
    ['a value outside its set', { dnsPolicy: 'Mine' }, 422, /spec\.dnsPolicy in body should be one of \[ClusterFirst/],
    ['no domain', { domain: undefined }, 422, /spec\.domain in body is required/],
    ['a malformed quantity', { domain: { devices: {}, memory: { guest: '12Qx' } } }, 400, /quantities must match/],
  ])('with %s are refused before anything reads them', async (_, spec, code, text) => {
    const posted: UnstructuredObject = JSON.parse(JSON.stringify(vmi(spec)));
    const status = await refusal(admit(posted));
    expect(status.code).toBe(code);
    expect(status.message).toMatch(text);
  });

  it('take what presets give', async () => {
    const preset = make('VirtualMachineInstancePreset', {
      selector: { matchLabels: { size: 'big' } },
      domain: { cpu: { cores: 4 }, devices: {} },
    });
    const labelled = { ...vmi(), metadata: { name: 'web', namespace: 'shop', labels: { size: 'big' } } };
    expect((await admit(labelled, { stored: [preset] }))['spec']).toMatchObject({ domain: { cpu: { cores: 4 } } });
    expect((await admit(vmi(), { stored: [preset] }))['spec']).toMatchObject({ domain: { cpu: { cores: 1 } } });
  });

  it('keep spec and status from users, not from the platform', async () => {
    const old = await admit(vmi());
    const running = { ...old, status: { phase: 'Running' } };
    expect((await admit(running, { old }))['status']).toEqual(old['status']);
    expect((await admit(running, { old, username: 'system:node:n1' }))['status']).toEqual({ phase: 'Running' });
    const changed = { ...old, spec: { ...(old['spec'] as object), hostname: 'x' } };
    expect((await refusal(admit(changed, { old }))).message).toMatch(/update of VMI object is restricted/);
  });
});

describe('virtual machines', () => {
  it('are stored as sent, with the finalizer of their controller', async () => {
    const posted = vm();
    const finalizers = ['kubevirt.io/virtualMachineControllerFinalize'];
    expect(await admit(structuredClone(posted))).toEqual({ ...posted, metadata: { ...posted.metadata, finalizers } });
  });

  it('need the instance type they name', async () => {
    const posted = vm({ instancetype: { name: 'small' }, template: { spec: { domain: { devices: {} } } } });
    const missing = await refusal(admit(posted));
    expect(missing.details?.causes).toEqual([
      {
        reason: 'FieldValueNotFound',
        field: 'spec.instancetype',
        message: 'Failure to find instancetype: virtualmachineclusterinstancetypes.instancetype.kubevirt.io "small" not found',
      },
    ]);
    const type = {
      ...make('VirtualMachineClusterInstancetype', { cpu: { guest: 1 }, memory: { guest: '1Gi' } }),
      metadata: { name: 'small' },
    };
    await expect(admit(posted, { stored: [type] })).resolves.toBeDefined();
  });

  it('say why a volume names no instance type', async () => {
    const volumes = [{ name: 'root', containerDisk: { image: 'a' } }];
    const { code, message } = await refusal(admit(vm({ instancetype: { inferFromVolume: 'root' } }, { volumes })));
    expect(code).toBe(400);
    expect(message).toMatch(/unable to infer defaults from volume root as type is not supported/);
  });

  it('may not clone what their service account may not read', async () => {
    const template = { metadata: { name: 'd' }, spec: { storage: {}, source: { pvc: { namespace: 'gold', name: 'img' } } } };
    const posted = vm({ dataVolumeTemplates: [template] }, { volumes: [{ name: 'root', dataVolume: { name: 'd' } }] });
    const { details } = await refusal(admit(posted));
    expect(details?.causes?.[0]).toMatchObject({
      field: 'spec.dataVolumeTemplates[0]',
      message: expect.stringContaining('system:serviceaccount:shop:default'),
    });
  });

  it('stay changeable while they are deleted', async () => {
    const broken = vm({ runStrategy: 'Often' });
    const old = { ...broken, metadata: { ...broken.metadata, deletionTimestamp: '1970-01-01T00:00:00Z' } };
    await expect(admit(old, { old })).resolves.toBeDefined();
  });

  it('are checked inside pools under their place', async () => {
    const template = { metadata: { labels: { a: 'b' } }, spec: { ...(vm()['spec'] as object), runStrategy: 'Often' } };
    const pool = {
      ...make('VirtualMachinePool', { selector: { matchLabels: { a: 'b' } }, virtualMachineTemplate: template }),
      apiVersion: 'pool.kubevirt.io/v1beta1',
    };
    const { details } = await refusal(admit(pool));
    expect(details?.causes?.map(({ field }) => field)).toEqual(['spec.virtualMachineTemplate.spec.runStrategy']);
  });
});

describe('migrations', () => {
  const migration = make('VirtualMachineInstanceMigration', { vmiName: 'web' });

  it('get label and finalizer when their instance exists', async () => {
    const stored = await admit(migration, { stored: [vmi()] });
    expect(stored.metadata).toMatchObject({
      labels: { 'kubevirt.io/vmi-name': 'web' },
      finalizers: ['kubevirt.io/migrationJobFinalize'],
    });
  });

  it('are refused plainly when it does not', async () => {
    const { code, message } = await refusal(admit(migration));
    expect([code, message]).toEqual([
      400,
      'admission webhook "migration-create-validator.kubevirt.io" denied the request: the VMI "shop/web" does not exist',
    ]);
  });
});

describe('snapshots', () => {
  it('are protected from their first moment on', async () => {
    const source = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' };
    const snapshot = { apiVersion: 'snapshot.kubevirt.io/v1beta1', kind: 'VirtualMachineSnapshot', metadata: { name: 's' } };
    const { metadata } = await admit({ ...snapshot, spec: { source } });
    expect(metadata.finalizers).toEqual(['snapshot.kubevirt.io/vmsnapshot-protection']);
  });
});

describe('platformUserIn', () => {
  it.each([
    ['system:serviceaccount:install:virt-controller', true],
    ['system:serviceaccount:tenant:virt-controller', false],
    ['system:serviceaccount:install-2:x', false],
    ['system:node:n1', true],
    ['system:apiserver', true],
    ['system:admin', false],
  ])('%s: %s', (username, expected) => {
    expect(platformUserIn(['install'])({ username, groups: ['system:masters'] })).toBe(expected);
  });

  it.each([
    ['system:serviceaccount:kv:kubevirt-handler', true],
    ['system:serviceaccount:kv:default', false],
    ['system:serviceaccount:tenant:kubevirt-handler', false],
  ])('%s, with the KubeVirt object in kv: %s', (username, expected) => {
    expect(platformUserIn(['install'], () => 'kv')({ username, groups: [] })).toBe(expected);
  });
});
