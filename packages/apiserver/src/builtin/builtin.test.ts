import { StatusError, type UnstructuredObject, cloneJson } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import type { ResourceDefinition, StrategyContext } from '../registry/resource-definition.ts';
import { WrongType } from '../registry/resource-definition.ts';
import { builtinResources } from './index.ts';

const definitions = builtinResources({ serviceCidrs: ['10.9.0.0/24'], nodePorts: { first: 30_000, last: 30_001 } });

function kind(name: string, group?: string): ResourceDefinition {
  const found = definitions.find((definition) => definition.kind === name && (group === undefined || definition.group === group));
  if (found === undefined) throw new Error(`No kind ${name}`);
  return found;
}

const stored: UnstructuredObject[] = [];
const context: StrategyContext = {
  user: { username: 'jane', groups: ['dev'] },
  now: '2026-01-02T03:04:05Z',
  namespace: 'ns',
  dryRun: false,
  subresource: '',
  lookup: () => undefined,
  lookupAll: () => stored,
  warn: () => undefined,
};

const object = (kindName: string, fields: Record<string, unknown>, metadata = {}): UnstructuredObject => ({
  apiVersion: 'v1',
  kind: kindName,
  metadata: { name: 'x', namespace: 'ns', uid: 'u-1', ...metadata },
  ...cloneJson(fields),
});

/** What a create stores. */
function created(definition: ResourceDefinition, body: UnstructuredObject): UnstructuredObject {
  definition.strategy.default?.(body);
  definition.strategy.prepareForCreate?.(body, context);
  return body;
}

const findings = (definition: ResourceDefinition, body: UnstructuredObject): string[] =>
  (definition.strategy.validate?.(created(definition, body), context) ?? []).map(({ type, path }) => `${type} ${path}`).sort();

const container = { name: 'c', image: 'app:1' };
const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [container] } };

describe('builtinResources', () => {
  it('declares each resource once, selectable fields included', () => {
    const names = definitions.map(({ group, version, plural }) => `${group}/${version}/${plural}`);
    expect(new Set(names).size).toBe(names.length);
    expect(kind('Pod').selectableFieldNames).toContain('spec.nodeName');
    expect(
      kind('Pod')
        .columns?.map(({ name }) => name)
        .slice(0, 5),
    ).toEqual(['Name', 'Ready', 'Status', 'Restarts', 'Age']);
  });

  it('brings objects to the written form: canonical quantities, nothing empty', () => {
    const pod = created(
      kind('Pod'),
      object('Pod', {
        spec: {
          containers: [{ ...container, args: [], resources: { limits: { cpu: '2.5', memory: '1048576Ki' } } }],
          nodeSelector: {},
        },
      }),
    );
    expect(pod['spec']).toMatchObject({ restartPolicy: 'Always', terminationGracePeriodSeconds: 30, enableServiceLinks: true });
    expect(pod['spec']).not.toHaveProperty('nodeSelector');
    const [first] = (pod['spec'] as { containers: Record<string, unknown>[] }).containers;
    expect(first).not.toHaveProperty('args');
    expect(first?.['resources']).toEqual({ limits: { cpu: '2500m', memory: '1Gi' }, requests: { cpu: '2500m', memory: '1Gi' } });
    expect(pod['status']).toEqual({ phase: 'Pending', qosClass: 'Guaranteed' });
  });

  it.each([
    ['a number where text belongs', { data: { k: 5 } }],
    ['binary data that is no base64', { binaryData: { k: '***' } }],
  ])('refuses %s', (_name, fields) => {
    expect(() => created(kind('ConfigMap'), object('ConfigMap', fields))).toThrow(WrongType);
  });

  it.each<[string, string, Record<string, unknown>, string[]]>([
    ['Pod', 'no containers', { spec: { containers: [] } }, ['Required spec.containers']],
    [
      'Pod',
      'unknown volume',
      { spec: { containers: [{ ...container, volumeMounts: [{ name: 'v', mountPath: '/v' }] }] } },
      ['NotFound spec.containers[0].volumeMounts[0].name'],
    ],
    [
      'Pod',
      'requests above limits',
      { spec: { containers: [{ ...container, resources: { requests: { cpu: '2' }, limits: { cpu: '1' } } }] } },
      ['Invalid spec.containers[0].resources.requests'],
    ],
    ['Service', 'no ports', { spec: { selector: { a: 'b' } } }, ['Required spec.ports']],
    [
      'Service',
      'a port twice',
      {
        spec: {
          ports: [
            { name: 'a', port: 1 },
            { name: 'b', port: 1 },
          ],
        },
      },
      ['Duplicate spec.ports[1]'],
    ],
    [
      'PersistentVolumeClaim',
      'one pod alone',
      { spec: { accessModes: ['ReadWriteOncePod'], resources: { requests: { storage: '1Gi' } } } },
      [],
    ],
    [
      'PersistentVolumeClaim',
      'one pod and others',
      { spec: { accessModes: ['ReadWriteOnce', 'ReadWriteOncePod'], resources: { requests: { storage: '1Gi' } } } },
      ['Forbidden spec.accessModes', 'NotSupported spec.accessModes'],
    ],
    [
      'PersistentVolumeClaim',
      'no size and mode',
      { spec: {} },
      ['Required spec.accessModes', 'Required spec.resources[storage]'],
    ],
    [
      'Deployment',
      'selector and template apart',
      { spec: { selector: { matchLabels: { x: 'y' } }, template } },
      ['Invalid spec.template.metadata.labels'],
    ],
    [
      'Job',
      'restart always',
      { spec: { template: { spec: { containers: [container] } } } },
      ['Required spec.template.spec.restartPolicy'],
    ],
    ['Role', 'no verbs', { rules: [{ apiGroups: [''], resources: ['pods'], verbs: [] }] }, ['Required rules[0].verbs']],
    ['Secret', 'TLS without keys', { type: 'kubernetes.io/tls', data: {} }, ['Required data[tls.crt]', 'Required data[tls.key]']],
    ['Lease', 'zero duration', { spec: { leaseDurationSeconds: 0 } }, ['Invalid spec.leaseDurationSeconds']],
    [
      'Node',
      'taint twice',
      {
        spec: {
          taints: [
            { key: 'a', effect: 'NoSchedule' },
            { key: 'a', effect: 'NoSchedule' },
          ],
        },
      },
      ['Duplicate metadata.taints[1]'],
    ],
  ])('%s: %s', (name, _what, fields, expected) => {
    expect(findings(kind(name), object(name, fields))).toEqual(expected);
  });

  it('gives Services free addresses and node ports, never one twice', () => {
    const definition = kind('Service');
    const service = (uid: string) =>
      created(definition, object('Service', { spec: { type: 'NodePort', ports: [{ port: 80 }] } }, { uid }));
    const [first, second] = [service('s-1'), service('s-2')];
    const spec = (entry: UnstructuredObject) => entry['spec'] as { clusterIP: string; ports: { nodePort: number }[] };
    expect(spec(first).clusterIP).toMatch(/^10\.9\.0\./);
    expect(spec(first).clusterIP).not.toBe(spec(second).clusterIP);
    expect(new Set([spec(first).ports[0]?.nodePort, spec(second).ports[0]?.nodePort])).toEqual(new Set([30_000, 30_001]));
    expect(() => service('s-3')).toThrow('no node port is free');
    const outside = object('Service', { spec: { ports: [{ port: 1 }], clusterIP: '192.0.2.1' } });
    expect(() => created(definition, outside)).toThrow('The range of valid IPs is 10.9.0.0/24');
  });

  it('lets Pods change images only, and gives bound ones time to stop', () => {
    const { strategy } = kind('Pod');
    const old = created(kind('Pod'), object('Pod', { spec: { containers: [container], nodeName: 'n' } }));
    const change = (spec: Record<string, unknown>) => ({ ...old, spec: { ...(old['spec'] as object), ...spec } });
    const image = change({ containers: [{ ...(old['spec'] as { containers: object[] }).containers[0], image: 'app:2' }] });
    expect(strategy.validateUpdate?.(image, old, context)).toEqual([]);
    expect(strategy.validateUpdate?.(change({ hostNetwork: true }), old, context)).toMatchObject([
      { type: 'Forbidden', path: 'spec' },
    ]);
    expect(strategy.graceful?.(old, undefined)).toEqual({ gracePeriodSeconds: 30 });
    expect(strategy.graceful?.(change({ nodeName: undefined }), undefined)).toEqual({ gracePeriodSeconds: 0 });
  });

  it('lets scheduling gates of a Pod be taken away, and no other come', () => {
    const { strategy } = kind('Pod');
    const spec = { containers: [container], schedulingGates: [{ name: 'one' }, { name: 'two' }] };
    const old = created(kind('Pod'), object('Pod', { spec }));
    const gated = (names: readonly string[] | undefined) => {
      const { schedulingGates: _gates, ...rest } = old['spec'] as Record<string, unknown>;
      return { ...old, spec: { ...rest, ...(names && { schedulingGates: names.map((name) => ({ name })) }) } };
    };
    expect(strategy.validateUpdate?.(gated(['two']), old, context)).toEqual([]);
    expect(strategy.validateUpdate?.(gated(undefined), old, context)).toEqual([]);
    expect(strategy.validateUpdate?.(gated(['one', 'three']), old, context)).toMatchObject([
      { type: 'Forbidden', path: 'spec.schedulingGates' },
    ]);
  });

  it('takes the requestor of a signing request from the connection, not from the body', () => {
    const request = created(
      kind('CertificateSigningRequest'),
      object('CertificateSigningRequest', { spec: { username: 'root', signerName: 'x' } }),
    );
    expect(request['spec']).toMatchObject({ username: 'jane', groups: ['dev'] });
  });

  it('shows the same events through both APIs', () => {
    const event = {
      ...object('Event', { involvedObject: { name: 'p' }, message: 'm', reportingComponent: 'c' }),
      apiVersion: 'v1',
    };
    const newer = kind('Event', 'events.k8s.io');
    const shown = newer.fromStorage?.(event);
    expect(shown).toMatchObject({
      apiVersion: 'events.k8s.io/v1',
      regarding: { name: 'p' },
      note: 'm',
      reportingController: 'c',
    });
    expect(newer.toStorage?.(shown as UnstructuredObject)).toEqual(event);
  });

  it('protects system namespaces and labels every namespace with its name', () => {
    const definition = kind('Namespace');
    expect(() => definition.strategy.checkDelete?.(object('Namespace', {}, { name: 'kube-system' }), context)).toThrow(
      StatusError,
    );
    expect(created(definition, object('Namespace', {}, { name: 'web' }))).toMatchObject({
      metadata: { labels: { 'kubernetes.io/metadata.name': 'web' } },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
  });
});
