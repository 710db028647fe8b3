import type { kubevirt, VirtualMachine } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { storedInstance } from '../testing.ts';
import type { Cause } from './causes.ts';
import rules from './__golden__/instance-rules.json' with { type: 'json' };
import { validatePool, validatePoolUpdate } from './groups.ts';
import { validateVirtualMachineInstance, validateVirtualMachineInstanceUpdate } from './instance.ts';
import { validateInstancetype, validatePreference } from './instancetypes.ts';
import { validateKubeVirt } from './kubevirt.ts';
import { migrationObstacle, validateMigration, validateMigrationPolicy, validateMigrationUpdate } from './migrations.ts';
import { validateClone, validateExport, validateRestore, validateSnapshot } from './snapshots.ts';
import { validateVirtualMachine, validateVirtualMachineUpdate } from './virtual-machine.ts';

interface Rule {
  readonly case: string;
  readonly spec?: object;
  readonly domain?: object;
  readonly devices?: object;
  readonly networks?: object;
  readonly volumes?: object;
  /** Feature gates that are on, and other configuration of the cluster. */
  readonly gates?: readonly string[];
  readonly configuration?: kubevirt.KubeVirtConfiguration;
  readonly causes: (string | null)[][];
}

const user = { isPlatform: false };
const fields = (causes: readonly Cause[]) => [...new Set(causes.map(({ reason, field }) => `${reason} ${field ?? 'null'}`))];

describe('rules for instances', () => {
  it.each(rules as Rule[])('$case', ({ spec, domain, devices, networks, volumes, gates, configuration, causes }) => {
    const config = clusterConfig({ ...configuration, ...(gates && { developerConfiguration: { featureGates: [...gates] } }) });
    const patch = {
      ...spec,
      domain: { devices: devices ?? {}, ...domain },
      ...(networks && { networks }),
      ...(volumes && { volumes }),
    };
    const vmi = storedInstance(patch as Parameters<typeof storedInstance>[0], config); // rows are deliberately wrong
    expect(fields(validateVirtualMachineInstance(vmi, config, user))).toEqual(
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

/** A template with the disk of a DataVolume. */
const using = (name: string) => ({
  template: { spec: { domain: { devices: {}, memory: { guest: '1Gi' } }, volumes: [{ name: 'a', dataVolume: { name } }] } },
});

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
    [
      'a data volume made of nothing',
      { dataVolumeTemplates: [{ metadata: { name: 'd' }, spec: { storage: {} } }], ...using('d') },
      ['FieldValueInvalid spec.dataVolumeTemplate[0]'],
    ],
    [
      'a data volume that a populator fills',
      {
        dataVolumeTemplates: [{ metadata: { name: 'd' }, spec: { storage: { dataSourceRef: { kind: 'P', name: 'p' } } } }],
        ...using('d'),
      },
      [],
    ],
    [
      'a data volume of another namespace',
      { dataVolumeTemplates: [{ metadata: { name: 'd', namespace: 'x' }, spec: { storage: {}, source: { blank: {} } } }] },
      ['FieldValueInvalid spec.dataVolumeTemplates[0]'],
    ],
    [
      'a matcher with a name that is also to be inferred',
      { instancetype: { name: 'a', inferFromVolume: 'b' } },
      ['FieldValueInvalid spec.instancetype.name'],
    ],
    [
      'an unknown policy of inference',
      { preference: { inferFromVolume: 'b', inferFromVolumeFailurePolicy: 'Guess' } },
      ['FieldValueInvalid spec.preference.inferFromVolumeFailurePolicy'],
    ],
    [
      'memory that cannot grow to its maximum',
      { template: { spec: { domain: { devices: {}, memory: { guest: '2Gi', maxGuest: '1Gi' } } } } },
      ['FieldValueInvalid spec.template.spec.domain.memory.guest'],
    ],
    [
      'more sockets than can be plugged in',
      { template: { spec: { domain: { devices: {}, cpu: { sockets: 4, maxSockets: 2 }, memory: { guest: '1Gi' } } } } },
      ['FieldValueInvalid spec.template.spec.domain.cpu.sockets'],
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

  it.each<[string, object, string[]]>([
    ['a group of its own', { apiGroup: undefined }, ['FieldValueNotFound spec.source.apiGroup']],
    ['another group', { apiGroup: 'apps' }, ['FieldValueInvalid spec.source.apiGroup']],
    ['another kind', { kind: 'VirtualMachineInstance' }, ['FieldValueInvalid spec.source.kind']],
  ])('refuses a snapshot of %s', (_, more, causes) => {
    const source = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web', ...more };
    expect(fields(validateSnapshot({ apiVersion: 'x/v1', kind: 'X', metadata: {}, spec: { source } }))).toEqual(causes);
  });

  it.each<[string, object, string[]]>([
    ['no template', { virtualMachineTemplate: undefined }, ['FieldValueRequired spec.virtualMachineTemplate']],
    ['no selector', { selector: undefined }, ['FieldValueRequired spec.selector']],
    ['a selector of others', { selector: { matchLabels: { a: 'c' } } }, ['FieldValueInvalid spec.selector']],
    ['none available', { maxUnavailable: 0 }, ['FieldValueInvalid spec.maxUnavailable']],
    ['too many unavailable', { maxUnavailable: '101%' }, ['FieldValueInvalid spec.maxUnavailable']],
    ['two ways to shrink', { scaleInStrategy: { proactive: {}, unmanaged: {} } }, ['FieldValueInvalid spec.scaleInStrategy']],
    ['two ways to update', { updateStrategy: { proactive: {}, unmanaged: {} } }, ['FieldValueInvalid spec.updateStrategy']],
    ['nothing wrong', {}, []],
  ])('refuses a pool with %s', (_, more, causes) => {
    const labels = { a: 'b' };
    const spec = { selector: { matchLabels: labels }, virtualMachineTemplate: { metadata: { labels }, spec: {} }, ...more };
    const pool = { apiVersion: 'x/v1', kind: 'X', metadata: {}, spec } as unknown as Parameters<typeof validatePool>[0]; // rows are wrong
    expect(fields(validatePool(pool))).toEqual(causes);
    const other = { ...pool, spec: { ...pool.spec, selector: { matchLabels: { x: 'y' } } } };
    expect(fields(validatePoolUpdate(other, pool))).toEqual(['FieldValueInvalid spec.selector']);
  });

  it.each<[string, object, string[]]>([
    ['CPUs', { memory: { guest: '1Gi' } }, ['FieldValueRequired spec.cpu.guest']],
    ['memory', { cpu: { guest: 1 }, memory: {} }, ['FieldValueRequired spec.memory.guest']],
    [
      'sense in overcommitment',
      { cpu: { guest: 1 }, memory: { guest: '1Gi', overcommitPercent: 100 } },
      ['FieldValueInvalid spec.memory.overcommitPercent'],
    ],
    ['room to grow', { cpu: { guest: 4, maxSockets: 2 }, memory: { guest: '1Gi' } }, ['FieldValueInvalid spec.cpu.maxSockets']],
  ])('refuses an instance type without %s', (_, spec, causes) => {
    expect(fields(validateInstancetype({ spec: spec as kubevirt.VirtualMachineInstancetypeSpec }))).toEqual(causes); // rows are wrong
  });

  it.each<[string, object, string[]]>([
    ['spread over something else', { spreadOptions: { across: 'Nodes' } }, ['FieldValueInvalid spec.cpu.spreadOptions.across']],
    [
      'three threads a core',
      { spreadOptions: { across: 'CoresThreads', ratio: 3 } },
      ['FieldValueInvalid spec.cpu.spreadOptions.ratio'],
    ],
  ])('refuses a preference with CPUs %s', (_, cpu, causes) => {
    expect(fields(validatePreference({ spec: { cpu } }))).toEqual(causes);
  });

  it.each<[string, Omit<kubevirt.MigrationPolicySpec, 'selectors'>, string[]]>([
    ['a negative time', { completionTimeoutPerGiB: -1 }, ['FieldValueInvalid spec.completionTimeoutPerGiB']],
    ['a negative bandwidth', { bandwidthPerMigration: '-1Mi' }, ['FieldValueInvalid spec.bandwidthPerMigration']],
    ['no downtime at all', { maxDowntimeMs: 0 }, ['FieldValueInvalid spec.maxDowntimeMs']],
    [
      'a stall detector whose gate is off',
      { experimental: { stallDetector: {} } },
      ['FieldValueInvalid spec.experimental.stallDetector'],
    ],
  ])('refuses a migration policy with %s', (_, spec, causes) => {
    const policy = { apiVersion: 'x/v1', kind: 'X', metadata: {}, spec: { ...spec, selectors: {} } };
    expect(fields(validateMigrationPolicy(policy, clusterConfig()))).toEqual(causes);
  });

  it('keeps the priority of a migration for the platform', () => {
    const migration = { apiVersion: 'x/v1', kind: 'X', metadata: {}, spec: { vmiName: '', priority: 'system-critical' } };
    const causes = (isPlatform: boolean) => fields(validateMigration(migration as never, clusterConfig(), isPlatform)); // a kind of its own
    expect(causes(false)).toEqual(['FieldValueRequired spec.vmiName', 'FieldValueForbidden spec.priority']);
    expect(causes(true)).toEqual(['FieldValueRequired spec.vmiName']);
  });

  it.each<[string, object, string[]]>([
    [
      'a source of another kind',
      { source: { kind: 'Pod', name: 'x' } },
      ['FieldValueInvalid spec.Source.Kind', 'FieldValueInvalid spec.Source'],
    ],
    ['a malformed MAC address', { newMacAddresses: { a: 'x' } }, ['FieldValueInvalid spec.NewMacAddresses']],
    ['a patch that is no JSON', { patches: ['replace'] }, ['FieldValueInvalid spec.patches[0]']],
    ['a patch that is no operation', { patches: ['{"a":1}'] }, ['FieldValueInvalid spec.patches[0]']],
    ['nothing wrong', { patches: ['{"op":"remove","path":"/spec/x"}'] }, []],
  ])('refuses a clone with %s', (_, more, causes) => {
    const spec = { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' }, ...more };
    const clone = { apiVersion: 'x/v1', kind: 'X', metadata: { namespace: 'shop' }, spec };
    expect(fields(validateClone(clone, { source: machine(), sourceExists: true }))).toEqual(causes);
  });

  it.each<[string, object, string[]]>([
    [
      'renewal after the end',
      { certificateRotateStrategy: { selfSigned: { ca: { duration: '1h', renewBefore: '2h' } } } },
      ['FieldValueInvalid spec.certificateRotationStrategy.selfSigned.ca'],
    ],
    [
      'a server that outlives its CA',
      { certificateRotateStrategy: { selfSigned: { ca: { duration: '1h' }, server: { duration: '2h' } } } },
      ['FieldValueInvalid spec.certificateRotationStrategy.selfSigned'],
    ],
    [
      'a patch that is no JSON',
      { customizeComponents: { patches: [{ patch: 'x', type: 'json' }] } },
      ['FieldValueInvalid spec.customizeComponents.patches[0]'],
    ],
    [
      'ciphers for TLS 1.3',
      { configuration: { tlsConfiguration: { minTLSVersion: 'VersionTLS13', ciphers: ['a'] } } },
      ['FieldValueInvalid spec.configuration.tlsConfiguration.ciphers'],
    ],
    [
      'two seccomp profiles',
      {
        configuration: {
          seccompConfiguration: {
            virtualMachineInstanceProfile: { customProfile: { localhostProfile: 'x', runtimeDefaultProfile: true } },
          },
        },
      },
      ['FieldValueInvalid spec.configuration.seccompConfiguration.virtualMachineInstanceProfile.customProfile'],
    ],
    [
      'templates whose gate is off',
      {
        configuration: {
          virtTemplateDeployment: { enabled: true },
          developerConfiguration: { disabledFeatureGates: ['Template'] },
        },
      },
      ['FieldValueInvalid spec.configuration.virtTemplateDeployment'],
    ],
    [
      'roles of its own whose gate is off',
      {
        configuration: {
          roleAggregationStrategy: 'Manual',
          developerConfiguration: { disabledFeatureGates: ['OptOutRoleAggregation'] },
        },
      },
      ['FieldValueInvalid spec.configuration.roleAggregationStrategy'],
    ],
    ['roles of its own', { configuration: { roleAggregationStrategy: 'Manual' } }, []],
  ])('refuses a KubeVirt object with %s', (_, spec, causes) => {
    const object = { apiVersion: 'kubevirt.io/v1', kind: 'KubeVirt', metadata: { name: 'kubevirt' }, spec } as Parameters<
      typeof validateKubeVirt
    >[0]; // rows are wrong
    expect(fields(validateKubeVirt(object))).toEqual(causes);
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
