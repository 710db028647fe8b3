import type { DataVolume, PersistentVolumeClaim, VirtualMachine } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { type MoveFacts, type MovePlan, planMove } from './migration-plan.ts';
import { type MigrationRecord, readRecord, recordChange, VOLUME_MIGRATION, withRecord } from './migration-record.ts';

const machine = (claim: string, fields: { strategy?: string; annotations?: object; templates?: object[] } = {}): VirtualMachine =>
  ({
    metadata: { name: 'box', namespace: 'a', uid: 'vm', annotations: fields.annotations ?? {} },
    spec: {
      updateVolumesStrategy: fields.strategy ?? 'Migration',
      ...(fields.templates && { dataVolumeTemplates: fields.templates }),
      template: { spec: { domain: { devices: {} }, volumes: [{ name: 'root', dataVolume: { name: claim } }] } },
    },
  }) as unknown as VirtualMachine; // what the plan looks at

const moving = (claim: string, record: MigrationRecord): VirtualMachine =>
  machine(claim, { annotations: withRecord({}, record) });

describe('what is on its way after a change of the spec', () => {
  const replaced = { uid: 'blank', metadata: {}, spec: {} };
  it.each<[string, VirtualMachine, VirtualMachine, MigrationRecord]>([
    ['another claim', machine('old'), machine('new'), { root: { from: 'old' } }],
    ['another claim, to replace the old one', machine('old'), machine('new', { strategy: 'Replacement' }), {}],
    ['the same claim', machine('old'), machine('old'), {}],
    ['the claim on the way', moving('new', { root: { from: 'old' } }), machine('new'), { root: { from: 'old' } }],
    ['a third claim', moving('new', { root: { from: 'old', replaced } }), machine('third'), { root: { from: 'old' } }],
    [
      'nothing, once begun',
      moving('new', { root: { from: 'old', replaced } }),
      machine('new'),
      { root: { from: 'old', replaced } },
    ],
    ['back', moving('new', { root: { from: 'old' } }), machine('old'), {}],
    ['another strategy on the way', moving('new', { root: { from: 'old' } }), machine('new', { strategy: 'Replacement' }), {}],
  ])('to %s', (_, old, next, record) => {
    expect(recordChange(old, next)).toEqual(record);
  });

  it.each(['', 'null', '[]', '{"root":1}', '{"root":{}}', '{'])('reads %j as nothing', (text) => {
    expect(readRecord(machine('new', { annotations: { [VOLUME_MIGRATION]: text } }))).toEqual({});
  });
});

const claim = (name: string, fields: { phase?: string; size?: string; metadata?: object; spec?: object } = {}) =>
  ({
    metadata: { name, namespace: 'a', ...fields.metadata },
    spec: { resources: { requests: { storage: fields.size ?? '1Gi' } }, ...fields.spec },
    status: { phase: fields.phase ?? 'Bound', capacity: { storage: fields.size ?? '1Gi' } },
  }) as unknown as PersistentVolumeClaim;

const dataVolume = (source: object, phase = '', metadata: object = {}) =>
  ({
    metadata: { name: 'new', namespace: 'a', uid: 'blank', ...metadata },
    spec: { source, storage: { resources: { requests: { storage: '1Gi' } } } },
    status: { phase, progress: '42.00%', conditions: [{ type: 'Bound', status: 'False', message: 'PVC new Pending' }] },
  }) as unknown as DataVolume;

const CLONE = { pvc: { namespace: 'a', name: 'old' } };
const replaced = { uid: 'blank', metadata: { labels: { mine: 'yes' } }, spec: dataVolume({ blank: {} }).spec };

const facts = (fields: Partial<MoveFacts> = {}): MoveFacts => ({
  vm: machine('new'),
  volume: 'root',
  moved: { from: 'old' },
  destination: 'new',
  source: claim('old'),
  claim: undefined,
  dataVolume: undefined,
  users: [],
  sourceUsers: [],
  node: 'node1',
  waitsForConsumer: false,
  ...fields,
});

describe('the next step of a move', () => {
  it.each<[string, Partial<MoveFacts>, Partial<MovePlan> & { message?: unknown }]>([
    ['into nothing', {}, { action: 'wait', message: expect.stringContaining('claim new does not exist yet') }],
    [
      'into a clone that is made',
      { dataVolume: dataVolume(CLONE, 'CloneInProgress') },
      { action: 'wait', message: expect.stringContaining('CloneInProgress, 42.00%') },
    ],
    ['into a clone that is complete', { dataVolume: dataVolume(CLONE, 'Succeeded') }, { action: 'done' }],
    [
      'into a clone that failed',
      { dataVolume: dataVolume(CLONE, 'Failed') },
      { action: 'refuse', message: expect.stringContaining('PVC new Pending') },
    ],
    ['into a blank disk', { dataVolume: dataVolume({ blank: {} }, 'Succeeded'), claim: claim('new') }, { action: 'remember' }],
    [
      'into a blank disk that is used',
      { dataVolume: dataVolume({ blank: {} }), users: ['launcher'] },
      { action: 'refuse', message: expect.stringContaining('used by pod launcher') },
    ],
    [
      'into a blank disk that is written down',
      { dataVolume: dataVolume({ blank: {} }), moved: { from: 'old', replaced } },
      { action: 'remove' },
    ],
    [
      'into a blank disk of another making',
      { dataVolume: dataVolume({ blank: {} }, '', { uid: 'other' }), moved: { from: 'old', replaced } },
      { action: 'remember' },
    ],
    [
      'into an imported disk',
      { dataVolume: dataVolume({ http: {} }) },
      { action: 'refuse', message: expect.stringContaining('content of its own') },
    ],
    ['into a clone of another claim', { dataVolume: dataVolume({ pvc: { namespace: 'a', name: 'x' } }) }, { action: 'refuse' }],
    [
      'from a claim that is gone',
      { dataVolume: dataVolume({ blank: {} }), source: undefined },
      { action: 'refuse', message: expect.stringContaining('does not exist') },
    ],
    [
      'from a claim that is used',
      { dataVolume: dataVolume({ blank: {} }), sourceUsers: ['launcher'] },
      { action: 'wait', message: 'claim old is used by pod launcher' },
    ],
    [
      'into less room',
      { dataVolume: dataVolume({ blank: {} }), claim: claim('new', { size: '512Mi' }) },
      { action: 'refuse', message: expect.stringContaining('at least 1Gi') },
    ],
    [
      'after the blank disk went, before its claim',
      { moved: { from: 'old', replaced }, claim: claim('new', { metadata: { ownerReferences: [{ uid: 'blank' }] } }) },
      { action: 'remove' },
    ],
    ['after both went', { moved: { from: 'old', replaced } }, { action: 'create' }],
    [
      'into a plain claim without a volume',
      { claim: claim('new', { phase: 'Pending' }) },
      { action: 'fill', annotations: { 'k8s.io/CloneRequest': 'a/old' } },
    ],
    [
      'into a plain claim with a volume',
      { claim: claim('new') },
      { action: 'refuse', message: expect.stringContaining('volume of its own') },
    ],
    [
      'into a plain claim that is a clone',
      { claim: claim('new', { spec: { dataSource: { kind: 'PersistentVolumeClaim', name: 'old' } } }) },
      { action: 'done' },
    ],
    [
      'into a plain claim that is being filled',
      { claim: claim('new', { phase: 'Pending', metadata: { annotations: { 'k8s.io/CloneRequest': 'a/old' } } }) },
      { action: 'wait' },
    ],
    [
      'into a clone that would wait for the VM',
      {
        dataVolume: dataVolume(CLONE, 'WaitForFirstConsumer'),
        claim: claim('new', { phase: 'Pending' }),
        waitsForConsumer: true,
      },
      { action: 'place', annotations: { 'volume.kubernetes.io/selected-node': 'node1' } },
    ],
  ])('%s', (_, given, expected) => {
    expect(planMove(facts(given))).toMatchObject(expected);
  });

  it('makes the clone in the place of a blank disk, with its labels and its size', () => {
    expect(planMove(facts({ moved: { from: 'old', replaced } }))).toMatchObject({
      dataVolume: {
        metadata: { name: 'new', namespace: 'a', labels: { mine: 'yes' }, annotations: { 'slipway.dev/migrated-from': 'old' } },
        spec: { source: CLONE, storage: { resources: { requests: { storage: '1Gi' } } } },
      },
    });
  });

  it('makes the clone of a template of the VM, whatever the template is filled from', () => {
    const templates = [{ metadata: { name: 'new' }, spec: { sourceRef: { kind: 'DataSource', name: 'fedora' }, storage: {} } }];
    const plan = planMove(facts({ vm: machine('new', { templates }) }));
    expect(plan).toMatchObject({
      action: 'create',
      dataVolume: { metadata: { ownerReferences: [{ name: 'box' }] }, spec: { source: CLONE, storage: {} } },
    });
    expect(plan).not.toHaveProperty('dataVolume.spec.sourceRef');
  });
});
