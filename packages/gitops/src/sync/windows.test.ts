import { describe, expect, it } from 'vitest';
import type { Application, AppProject, SyncWindow } from '../kinds.ts';
import { maySync } from './windows.ts';

const app: Application = {
  apiVersion: 'argoproj.io/v1alpha1',
  kind: 'Application',
  metadata: { name: 'machines', namespace: 'openshift-gitops' },
  spec: { destination: { server: 'https://kubernetes.default.svc', namespace: 'shop' } },
};
const project = (...syncWindows: SyncWindow[]): AppProject => ({
  apiVersion: 'argoproj.io/v1alpha1',
  kind: 'AppProject',
  metadata: { name: 'default' },
  spec: { syncWindows },
});
const TEN = Date.parse('2026-01-05T10:30:00Z');
const hours = { schedule: '0 10 * * *', duration: '1h', applications: ['*'] };
const elsewhen = { ...hours, schedule: '0 20 * * *' };

describe('maySync', () => {
  it.each<[string, SyncWindow[], { automatic: boolean; manual: boolean }]>([
    ['no window', [], { automatic: true, manual: true }],
    ['a denying window', [{ ...hours, kind: 'deny' }], { automatic: false, manual: false }],
    ['one for automatic syncs', [{ ...hours, kind: 'deny', manualSync: true }], { automatic: false, manual: true }],
    ['a denying window at another time', [{ ...elsewhen, kind: 'deny' }], { automatic: true, manual: true }],
    ['an allowing window', [{ ...hours, kind: 'allow' }], { automatic: true, manual: true }],
    ['an allowing window at another time', [{ ...elsewhen, kind: 'allow' }], { automatic: false, manual: false }],
    ['the same for automatic syncs', [{ ...elsewhen, kind: 'allow', manualSync: true }], { automatic: false, manual: true }],
    [
      'both',
      [
        { ...hours, kind: 'allow' },
        { ...hours, kind: 'deny' },
      ],
      { automatic: false, manual: false },
    ],
    ['a window of other applications', [{ ...hours, kind: 'deny', applications: ['web-*'] }], { automatic: true, manual: true }],
    [
      'one of its namespace',
      [{ ...hours, kind: 'deny', applications: [], namespaces: ['sh*'] }],
      { automatic: false, manual: false },
    ],
    [
      'one that wants both',
      [{ ...hours, kind: 'deny', namespaces: ['x'], andOperator: true }],
      { automatic: true, manual: true },
    ],
    ['a time zone', [{ ...hours, kind: 'deny', timeZone: 'Asia/Tokyo' }], { automatic: true, manual: true }],
    ['a denying one that is not understood', [{ ...hours, kind: 'deny', schedule: 'x' }], { automatic: false, manual: false }],
  ])('%s', (_what, windows, { automatic, manual }) => {
    expect(maySync(project(...windows), app, false, TEN)).toBe(automatic);
    expect(maySync(project(...windows), app, true, TEN)).toBe(manual);
  });
});
