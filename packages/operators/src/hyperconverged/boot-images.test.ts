import { parseSchedule } from '@slipway/runtime';
import { describe, expect, it } from 'vitest';
import type { Fields, HyperConverged } from '../kinds.ts';
import { bootImageTemplates, scheduleFor } from './boot-images.ts';
import { valueAt } from './spec-paths.ts';

const hco = (workloadSources: Fields, status: HyperConverged['status'] = {}): HyperConverged => ({
  apiVersion: 'hco.kubevirt.io/v1',
  kind: 'HyperConverged',
  metadata: { uid: 'u' },
  spec: { workloadSources },
  status,
});
const named = (name: string, rest: object = {}, annotations: Record<string, string> = {}) => ({
  metadata: { name, annotations },
  ...rest,
});
const names = (templates: readonly Fields[]) => templates.map((template) => valueAt(template, 'metadata.name'));
const SPEC = { schedule: '', managedDataSource: 'mine', template: { spec: {} } };

describe('bootImageTemplates', () => {
  it('gives the built-in ones, by name, at the schedule of the status', () => {
    const { deployed, listed } = bootImageTemplates(hco({}, { dataImportSchedule: '7 3/12 * * *' }), ['amd64']);
    expect(names(deployed)).toEqual(['centos-stream10-image-cron', 'centos-stream9-image-cron', 'fedora-image-cron']);
    expect(deployed[2]).toMatchObject({
      metadata: { annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' } },
      spec: {
        schedule: '7 3/12 * * *',
        managedDataSource: 'fedora',
        retentionPolicy: 'None',
        importsToKeep: 1,
        garbageCollect: 'Outdated',
      },
    });
    expect(listed[0]).toMatchObject({ status: { commonTemplate: true } });
  });

  it('lets entries change, remove and add', () => {
    const off = { 'dataimportcrontemplate.kubevirt.io/enable': 'false' };
    const own = [
      named('fedora-image-cron', { spec: SPEC }),
      named('centos-stream9-image-cron', {}, off),
      named('zed', { spec: SPEC }),
    ];
    const { listed } = bootImageTemplates(hco({ dataImportCronTemplates: own }, { dataImportSchedule: '1 1/12 * * *' }), []);
    expect(names(listed)).toEqual(['centos-stream10-image-cron', 'fedora-image-cron', 'zed']);
    expect(listed[1]).toMatchObject({
      spec: { schedule: '1 1/12 * * *', managedDataSource: 'mine' },
      status: { commonTemplate: true, modified: true },
    });
    expect(listed[2]?.['status']).toEqual({});
  });

  it('refuses a name that comes twice', () => {
    const twice = [named('a', { spec: SPEC }), named('a', { spec: SPEC })];
    expect(() => bootImageTemplates(hco({ dataImportCronTemplates: twice }), [])).toThrow(
      'a DataImportCronTable is already defined',
    );
  });

  it('leaves out what no node can run, when there are images of several architectures', () => {
    const own = [named('arm', { spec: SPEC }, { 'ssp.kubevirt.io/dict.architectures': 'arm64' })];
    const sources = { dataImportCronTemplates: own, enableCommonBootImageImport: false, enableMultiArchBootImageImport: true };
    const { listed, deployed } = bootImageTemplates(hco(sources), ['amd64']);
    expect(deployed).toEqual([]);
    expect(listed[0]).toMatchObject({
      status: { conditions: [{ type: 'Deployed', status: 'False', reason: 'UnsupportedArchitectures' }] },
    });
  });
});

describe('scheduleFor', () => {
  it.each(['', 'a', '3f0c2b1e-5d6a-4c7b-8e9f-0a1b2c3d4e5f'])('"%s": twice a day, as DataImportCrons may have it', (uid) => {
    const schedule = parseSchedule(scheduleFor(uid), undefined);
    const first = schedule.next(0) ?? 0;
    expect((schedule.next(first) ?? 0) - first).toBe(12 * 3_600_000);
  });
});
