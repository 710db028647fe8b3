import type { Application } from '@slipway/gitops';
import { describe, expect, it } from 'vitest';
import { formatDifference, withoutManagers } from './app-commands.ts';
import { formatApp, formatHistory, formatList } from './format-app.ts';
import { lineDiff } from './line-diff.ts';
import { requireSelected } from './selected-resources.ts';
import { operationOf } from './sync-app.ts';

const COMMIT = '1234567890123456789012345678901234567890';
const app: Application = {
  apiVersion: 'argoproj.io/v1alpha1',
  kind: 'Application',
  metadata: { name: 'machines', namespace: 'openshift-gitops' },
  spec: {
    project: 'default',
    destination: { name: '', server: 'https://kubernetes.default.svc' },
    source: { repoURL: 'https://git.example/a.git', path: 'vms' },
    syncPolicy: { automated: { prune: true } },
  },
  status: {
    sync: { status: 'OutOfSync', revision: COMMIT },
    health: { status: 'Missing' },
    conditions: [{ type: 'SyncError', message: 'no' }],
    resources: [
      {
        group: 'kubevirt.io',
        version: 'v1',
        kind: 'VirtualMachine',
        namespace: 'default',
        name: 'a',
        status: 'OutOfSync',
        requiresPruning: true,
      },
    ],
    operationState: {
      phase: 'Failed',
      message: 'one failed',
      startedAt: '2026-01-01T00:00:00Z',
      operation: {},
      syncResult: {
        resources: [
          {
            group: 'kubevirt.io',
            version: 'v1',
            kind: 'VirtualMachine',
            namespace: 'default',
            name: 'a',
            status: 'PruneSkipped',
            message: 'ignored',
          },
          {
            group: '',
            version: 'v1',
            kind: 'ConfigMap',
            namespace: 'default',
            name: 'hook',
            hookType: 'PreSync',
            hookPhase: 'Succeeded',
          },
        ],
      },
    },
  },
};

describe('an application on the terminal', () => {
  it('is a line of the list', () => {
    expect(formatList([app]).split('\n')[1]?.split(/ {2,}/)).toEqual([
      ...[
        'openshift-gitops/machines',
        'https://kubernetes.default.svc',
        'default',
        'OutOfSync',
        'Missing',
        'Auto-Prune',
        'SyncError',
      ],
      ...['https://git.example/a.git', 'vms', 'HEAD'],
    ]);
  });

  it('is shown with its objects and hooks', () => {
    const text = formatApp(app);
    expect(text).toContain('Sync Status:        OutOfSync from HEAD (1234567)');
    expect(text).toMatch(/kubevirt\.io +VirtualMachine +default +a +OutOfSync \(requires pruning\) +ignored/);
    expect(text).toMatch(/ConfigMap +default +hook +Succeeded +PreSync/);
  });

  it('is shown without the managers of its fields', () => {
    const managedFields = [{ manager: 'kubectl', operation: 'Apply' as const }];
    expect(withoutManagers({ ...app, metadata: { ...app.metadata, managedFields } })).toEqual(app);
    expect(withoutManagers(app)).toEqual(app);
  });

  it('has a history', () => {
    const entry = {
      id: 3,
      revision: COMMIT,
      deployedAt: '2026-01-01T00:00:00Z',
      deployStartedAt: '',
      initiatedBy: { username: 'ann' },
    };
    expect(formatHistory([entry]).split('\n')[1]).toBe(`3   2026-01-01T00:00:00Z  HEAD (${COMMIT})  ann`);
  });

  it('names objects of a selective sync', () => {
    const { sync } = operationOf({ dataDir: '', resource: [':ConfigMap:a', 'kubevirt.io:VirtualMachine:b/c'], prune: true });
    expect(sync).toEqual({
      prune: true,
      resources: [
        { group: '', kind: 'ConfigMap', name: 'a' },
        { group: 'kubevirt.io', kind: 'VirtualMachine', namespace: 'b', name: 'c' },
      ],
    });
    expect(() => operationOf({ dataDir: '', resource: ['x'] })).toThrow('GROUP:KIND:NAME');
  });

  it.each(['Replace=true', 'Prune=confirm', 'PrunePropagationPolicy=orphan', 'CreateNamespace=false'])('takes %s', (option) => {
    expect(operationOf({ dataDir: '', syncOption: [option] }).sync?.syncOptions).toEqual([option]);
  });

  it.each(['Replace', 'replace=true', 'Replace=yes', 'Validate=confirm', 'Force=true,Replace=true', 'nonsense'])(
    'refuses the sync option %s',
    (option) => {
      expect(() => operationOf({ dataDir: '', syncOption: [option] })).toThrow(
        expect.objectContaining({ exitCode: 2, message: expect.stringContaining(`--sync-option: there is no ${option}`) }),
      );
    },
  );
});

describe('requireSelected', () => {
  const known = [
    { group: 'kubevirt.io', kind: 'VirtualMachine', namespace: 'default', name: 'a' },
    { kind: 'Namespace', name: 'prod' },
  ];

  it.each([
    ['by name', { group: 'kubevirt.io', kind: 'VirtualMachine', name: 'a' }],
    ['with its namespace', { group: 'kubevirt.io', kind: 'VirtualMachine', namespace: 'default', name: 'a' }],
    ['of the cluster', { group: '', kind: 'Namespace', name: 'prod' }],
  ])('finds one %s', (_, one) => {
    expect(() => requireSelected('machines', [one], known)).not.toThrow();
  });

  it.each([
    ['kubevirt.io:VirtualMachine:b', { group: 'kubevirt.io', kind: 'VirtualMachine', name: 'b' }],
    [':VirtualMachine:a', { group: '', kind: 'VirtualMachine', name: 'a' }],
    ['kubevirt.io:VirtualMachine:x/a', { group: 'kubevirt.io', kind: 'VirtualMachine', namespace: 'x', name: 'a' }],
  ])('says what there is instead of %s', (text, one) => {
    expect(() => requireSelected('machines', [{ group: '', kind: 'Namespace', name: 'prod' }, one], known)).toThrow(
      expect.objectContaining({
        exitCode: 2,
        message: `--resource: machines has no ${text}; it has kubevirt.io:VirtualMachine:default/a, :Namespace:prod`,
      }),
    );
  });

  it('says that there is nothing', () => {
    expect(() => requireSelected('machines', [{ group: '', kind: 'Namespace', name: 'a' }], [])).toThrow('it has no objects');
  });
});

describe('lineDiff', () => {
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, index) => String(from + index));
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

  it('shows what differs with three lines around it', () => {
    const before = text(numbers(1, 30));
    const after = text([...numbers(1, 4), 'five', ...numbers(6, 24), ...numbers(26, 30), '31']);
    expect(lineDiff(before, after)).toBe(
      text([
        ...['@@ -2,7 +2,7 @@', ' 2', ' 3', ' 4', '-5', '+five', ' 6', ' 7', ' 8'],
        ...['@@ -22,9 +22,9 @@', ' 22', ' 23', ' 24', '-25', ' 26', ' 27', ' 28', ' 29', ' 30', '+31'],
      ]),
    );
  });

  it('of nothing and all', () => {
    expect(lineDiff('a\n', 'a\n')).toBe('');
    expect(lineDiff('', 'a\nb\n')).toBe('@@ -0,0 +1,2 @@\n+a\n+b\n');
    const resource = { group: '', version: 'v1', kind: 'ConfigMap', namespace: 'n', name: 'c', isDifferent: true };
    expect(formatDifference({ ...resource, live: { kind: 'ConfigMap' } })).toBe(
      '===== /ConfigMap n/c ======\n@@ -1 +0,0 @@\n-kind: ConfigMap\n',
    );
  });
});
