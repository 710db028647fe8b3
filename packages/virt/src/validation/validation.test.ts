import type { kubevirt, VirtualMachine } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { storedInstance } from '../testing.ts';
import type { Cause } from './causes.ts';
import rules from './__golden__/instance-rules.json' with { type: 'json' };
import { validateVirtualMachineInstance, validateVirtualMachineInstanceUpdate } from './instance.ts';
import { validateInstancetype, validatePreference } from './instancetypes.ts';
import { validateKubeVirt } from './kubevirt.ts';
import { migrationObstacle, validateMigrationUpdate } from './migrations.ts';
import { validateClone, validateExport, validateRestore } from './snapshots.ts';
import { validateVirtualMachine, validateVirtualMachineUpdate } from './virtual-machine.ts';

interface Rule {
  readonly case: string;
  readonly spec?: object;
  readonly domain?: object;
  readonly devices?: object;
  readonly networks?: object;
  readonly volumes?: object;
  readonly causes: (string | null)[][];
}

const user = { isPlatform: false };
const fields = (causes: readonly Cause[]) => [...new Set(causes.map(({ reason, field }) => `${reason} ${field ?? 'null'}`))];

describe('rules for instances', () => {
  it.each(rules as Rule[])('$case', ({ spec, domain, devices, networks, volumes, causes }) => {
    const patch = {
      ...spec,
      domain: { devices: devices ?? {}, ...domain },
      ...(networks && { networks }),
      ...(volumes && { volumes }),
    };
    const vmi = storedInstance(patch as Parameters<typeof storedInstance>[0]); // rows are deliberately wrong
    expect(fields(validateVirtualMachineInstance(vmi, clusterConfig(), user))).toEqual(
      causes.map((cause) => cause.join(' ').replace(/ $/, ' null')),
    );
  });

  it('keeps reserved labels for the platform', () => {
    const vmi = storedInstance();
    vmi.metadata.labels = { 'kubevirt.io/nodeName': 'n1' };
    expect(fields(validateVirtualMachineInstance(vmi, clusterConfig(), user))).toEqual([
      'FieldValueNotSupported metadata.labels',
    ]);
    expect(validateVirtualMachineInstance(vmi, clusterConfig(), { isPlatform: true })).toEqual([]);
  });

  it('lets only the platform change a spec, and not its permanent volumes', () => {
    const old = storedInstance({ volumes: [{ name: 'a', emptyDisk: { capacity: '1Gi' } }] });
    const changed = structuredClone(old);
    changed.spec.volumes = [];
    expect(validateVirtualMachineInstanceUpdate(changed, old, user)[0]?.message).toBe('update of VMI object is restricted');
    expect(validateVirtualMachineInstanceUpdate(changed, old, { isPlatform: true })).toHaveLength(1);
    expect(validateVirtualMachineInstanceUpdate(structuredClone(old), old, user)).toEqual([]);
  });
});

const machine = (spec: object = {}): VirtualMachine =>
  ({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { runStrategy: 'Halted', template: { spec: { domain: { devices: {}, memory: { guest: '1Gi' } } } }, ...spec },
  }) as VirtualMachine; // rows below are deliberately wrong

const small = { name: 's', kind: 'VirtualMachineInstancetype' as const, spec: { cpu: { guest: 3 }, memory: { guest: '1Gi' } } };

describe('rules for virtual machines', () => {
  const check = (vm: VirtualMachine, more: object = {}) =>
    fields(validateVirtualMachine(vm, { config: clusterConfig(), isPlatform: false, ...more }));

  it.each<[string, object, string[]]>([
    ['both ways to run', { running: true }, ['FieldValueInvalid spec.running']],
    ['no way to run', { runStrategy: undefined }, ['FieldValueInvalid spec.running']],
    ['an unknown strategy', { runStrategy: 'Often' }, ['FieldValueInvalid spec.runStrategy']],
    ['a nameless matcher', { instancetype: {} }, ['FieldValueNotFound spec.instancetype']],
    [
      'a data volume nobody uses',
      { dataVolumeTemplates: [{ metadata: { name: 'd' }, spec: { storage: {}, source: { blank: {} } } }] },
      ['FieldValueRequired spec.dataVolumeTemplate[0]'],
    ],
    ['nothing', {}, []],
  ])('refuses %s', (_, spec, causes) => expect(check(machine(spec))).toEqual(causes));

  it('names the fields of the template', () => {
    const template = {
      spec: {
        domain: { devices: { disks: [{ name: 'a', disk: { bus: 'ide' } }] }, memory: { guest: '1Gi' } },
        volumes: [{ name: 'a', emptyDisk: { capacity: '1Gi' } }],
      },
    };
    expect(check(machine({ template }))).toEqual(['FieldValueInvalid spec.template.spec.domain.devices.disks[0].disk.bus']);
  });

  it('reports what contradicts the instance type and what the preference requires', () => {
    const matched = { instancetype: { name: 's' } };
    expect(check(machine(matched), { instancetype: small })).toEqual(['FieldValueInvalid spec.template.spec.domain.memory']);
    const open = machine({ template: { spec: { domain: { devices: {} } } }, ...matched });
    const wants = (spec: kubevirt.VirtualMachinePreferenceSpec) => ({
      instancetype: small,
      preference: { name: 'p', kind: 'VirtualMachinePreference', spec },
    });
    expect(check(open, wants({ requirements: { cpu: { guest: 4 } } }))).toEqual(['FieldValueNotFound spec.instancetype']);
    expect(check(open, wants({ cpu: { preferredCPUTopology: 'spread' } }))).toEqual([
      'FieldValueInvalid instancetype.spec.cpu.guest',
    ]);
    expect(check(open, wants({}))).toEqual([]);
  });

  it('holds disks still while a snapshot is taken', () => {
    const old = { ...machine(), status: { snapshotInProgress: 's1' } };
    expect(validateVirtualMachineUpdate(machine({ runStrategy: 'Always' }), old)).toHaveLength(1);
    expect(validateVirtualMachineUpdate(machine(), old)).toEqual([]);
  });
});

describe('rules for other kinds', () => {
  it('checks instance types and preferences', () => {
    const spec = { cpu: { guest: 1 }, memory: { guest: '1Gi', overcommitPercent: 10, hugepages: { pageSize: '2Mi' } } };
    expect(fields(validateInstancetype({ spec }))).toEqual(['FieldValueInvalid spec.memory.overcommitPercent']);
    expect(fields(validatePreference({ spec: { cpu: { preferredCPUTopology: 'rows' } } }))).toEqual([
      'FieldValueInvalid spec.cpu.preferredCPUTopology',
    ]);
  });

  it('says why an instance cannot migrate', () => {
    const vmi = storedInstance();
    const migration = {
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstanceMigration',
      metadata: { name: 'm', uid: 'u' },
      spec: { vmiName: 'web' },
    };
    expect(migrationObstacle({ ...vmi, status: { phase: 'Succeeded' } }, [])).toBe('Cannot migrate VMI in finalized state.');
    expect(migrationObstacle(vmi, [migration])).toMatch(/in-flight migration detected.*\(u\)/);
    expect(migrationObstacle(vmi, [{ ...migration, status: { phase: 'Failed' } }])).toBeUndefined();
    expect(validateMigrationUpdate({ ...migration, spec: { vmiName: 'x' } }, migration)).toHaveLength(1);
  });

  it('checks restores, exports and clones', () => {
    const meta = { apiVersion: 'x/v1', kind: 'X', metadata: { name: 'x', namespace: 'shop' } };
    const target = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' };
    const restore = { ...meta, spec: { target, virtualMachineSnapshotName: 's' } };
    expect(fields(validateRestore(restore, { target: undefined, snapshot: undefined, inProgress: [] }))).toEqual([
      'FieldValueInvalid spec.virtualMachineSnapshotName',
    ]);
    expect(fields(validateExport({ ...meta, spec: { source: { ...target, apiGroup: '' } } }))).toEqual([
      'FieldValueInvalid spec.source.APIGroup',
    ]);
    const clone = { ...meta, spec: { source: target, target, labelFilters: ['a*b'] } };
    expect(fields(validateClone(clone, { source: machine(), sourceExists: true }))).toEqual([
      'FieldValueInvalid spec.target.name',
      'FieldValueInvalid spec.Labels',
    ]);
  });

  it('checks the KubeVirt object', () => {
    const spec = { infra: { replicas: 0 }, configuration: { additionalGuestMemoryOverheadRatio: '0.5' } };
    expect(
      fields(validateKubeVirt({ apiVersion: 'kubevirt.io/v1', kind: 'KubeVirt', metadata: { name: 'kubevirt' }, spec })),
    ).toEqual([
      'FieldValueInvalid spec.infra.replicas',
      'FieldValueInvalid spec.configuration.additionalGuestMemoryOverheadRatio',
    ]);
  });
});
