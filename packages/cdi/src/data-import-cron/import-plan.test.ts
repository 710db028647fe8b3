import type { DataImportCron, DataVolume } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { validateCron } from './cron-admission.ts';
import { importName, importVolume, outdatedImports, pinned } from './import-plan.ts';
import { pollPlan } from './schedule-plan.ts';

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
const registry = { registry: { url: 'docker://quay.io/containerdisks/debian:12', secretRef: 'pull' } };
const cron = (spec: object = {}, metadata: object = {}): DataImportCron =>
  ({
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataImportCron',
    metadata: { name: 'debian', namespace: 'images', uid: '12345678-aaaa', ...metadata },
    spec: {
      managedDataSource: 'debian12',
      schedule: '0 */12 * * *',
      template: { spec: { source: registry, storage: { resources: { requests: { storage: '5Gi' } } } } },
      ...spec,
    },
  }) as DataImportCron;

describe('importVolume', () => {
  it('is named by the digest and pinned to it', () => {
    const made = importVolume(cron(), digest, '2026-01-01T00:00:00Z');
    expect(made).toMatchObject({
      metadata: {
        name: 'debian12-0123456789ab',
        namespace: 'images',
        labels: { 'cdi.kubevirt.io/dataImportCron': 'debian' },
        annotations: {
          'cdi.kubevirt.io/storage.bind.immediate.requested': 'true',
          'cdi.kubevirt.io/storage.import.lastUseTime': '2026-01-01T00:00:00Z',
        },
      },
      spec: {
        source: { registry: { url: `docker://quay.io/containerdisks/debian@${digest}`, secretRef: 'pull' } },
        storage: { resources: { requests: { storage: '5Gi' } } },
      },
    });
    expect(made.metadata.labels).not.toHaveProperty(['cdi.kubevirt.io/dataImportCron.cleanup']);
  });

  it('passes on what the template and the cron are marked with', () => {
    const template = {
      metadata: { labels: { team: 'a' }, annotations: { note: 'b' } },
      spec: cron().spec.template.spec,
    };
    const labels = { 'instancetype.kubevirt.io/default-preference': 'debian', private: 'x' };
    const made = importVolume(cron({ template, retentionPolicy: 'None' }, { labels }), digest, 'now');
    expect(made.metadata.labels).toEqual({
      team: 'a',
      'instancetype.kubevirt.io/default-preference': 'debian',
      'cdi.kubevirt.io/dataImportCron': 'debian',
      'cdi.kubevirt.io/dataImportCron.cleanup': 'true',
    });
    expect(made.metadata.annotations).toMatchObject({ note: 'b' });
  });

  it.each([
    ['docker://host:5000/repo:tag', 'docker://host:5000/repo@D'],
    ['docker://host:5000/repo', 'docker://host:5000/repo@D'],
    ['docker://host/repo@sha256:old', 'docker://host/repo@D'],
  ])('pins %s', (url, expected) => {
    expect(pinned(url, 'D')).toBe(expected);
  });

  it('names imports of claims too', () => {
    expect(importName(cron(), 'uid:aaaabbbb-cccc-dddd')).toBe('debian12-aaaabbbb-ccc');
  });
});

describe('outdatedImports', () => {
  const used = (name: string, at: string): DataVolume =>
    ({ metadata: { name, annotations: { 'cdi.kubevirt.io/storage.import.lastUseTime': at } } }) as unknown as DataVolume;
  const imports = [used('a', '2026-01-01'), used('b', '2026-01-02'), used('c', '2026-01-03'), used('d', '2026-01-04')];

  it.each([
    ['three by default', {}, ['d'], ['a']],
    ['as many as asked', { importsToKeep: 1 }, ['d'], ['c', 'b', 'a']],
    ['the present one however old', { importsToKeep: 1 }, ['a'], ['d', 'c', 'b']],
    ['all', { garbageCollect: 'Never', importsToKeep: 0 }, ['d'], []],
  ])('keeps %s', (_, spec, present, expected) => {
    expect(outdatedImports(cron(spec), imports, present)).toEqual(expected);
  });
});

describe('pollPlan', () => {
  const at = (text: string) => Date.parse(`2026-01-01T${text}Z`);
  const last = (time: string) => ({ annotations: { 'cdi.kubevirt.io/storage.import.lastCronTime': `2026-01-01T${time}Z` } });
  it.each([
    ['at once, the first time', cron(), '00:00:00', { isDue: true }],
    ['when its time has come', cron({}, last('11:59:00')), '12:00:00', { isDue: true }],
    ['later', cron({}, last('12:00:00')), '12:00:10', { isDue: false, nextMs: at('12:00:00') + 12 * 3_600_000 }],
    ['never again without a schedule', cron({ schedule: '' }, last('12:00:00')), '23:00:00', { isDue: false }],
  ])('asks %s', (_, subject, now, expected) => {
    expect(pollPlan(subject, at(now))).toEqual(expected);
  });
});

describe('validateCron', () => {
  const template = (spec: object) => ({ template: { spec: { ...cron().spec.template.spec, ...spec } } });
  it.each<[object, string]>([
    [template({ source: undefined }), 'Missing source'],
    [template({ contentType: 'archive' }), 'Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint'],
    [template({ source: { blank: {} } }), 'Only registry, pvc, http, s3 and gcs sources can be polled'],
    [{ schedule: 'often' }, 'Illegal cron schedule'],
    [{ schedule: '* * * * * *' }, 'Illegal cron schedule'],
    [{ importsToKeep: -1 }, 'Illegal ImportsToKeep value'],
    [{ garbageCollect: 'Sometimes' }, 'Illegal GarbageCollect value'],
    [{ managedDataSource: '' }, 'Illegal ManagedDataSource value'],
    [{ managedDataSource: 'x'.repeat(64) }, 'Illegal ManagedDataSource value'],
  ])('refuses %j', (spec, message) => {
    expect(validateCron(cron(spec)).map((cause) => cause.message)).toEqual([message]);
  });

  it('takes what CDI takes', () => {
    expect(validateCron(cron())).toEqual([]);
    expect(validateCron(cron({ schedule: '' }))).toEqual([]);
  });
});
