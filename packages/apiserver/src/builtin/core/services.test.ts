import { cloneJson, StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import type { StrategyContext } from '../../registry/resource-definition.ts';
import { builtinResources } from '../index.ts';
import { ipRange } from './ip-range.ts';

const DUAL = ['10.9.0.0/24', 'fd10:9::/112'];
interface Spec {
  clusterIP?: string;
  clusterIPs?: string[];
  ipFamilies?: string[];
  ipFamilyPolicy?: string;
  healthCheckNodePort?: number;
}

/** A server of its own each time, so that each takes the first addresses. */
function services(serviceCidrs: string[] = DUAL, stored: UnstructuredObject[] = []) {
  const definition = builtinResources({ serviceCidrs, nodePorts: { first: 30_000, last: 30_009 } }).find(
    ({ kind, group }) => kind === 'Service' && group === '',
  );
  if (definition === undefined) throw new Error('no Services');
  const { strategy } = definition;
  const context: StrategyContext = {
    ...{ user: { username: 'jane', groups: [] }, now: '2026-01-02T03:04:05Z', namespace: 'ns', dryRun: false, subresource: '' },
    ...{ lookup: () => undefined, lookupAll: () => stored, warn: () => undefined },
  };
  const object = (spec: object): UnstructuredObject => ({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'x', namespace: 'ns', uid: 'u-1' } },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }], ...cloneJson(spec) },
  });
  const problemsOf = (body: UnstructuredObject): string[] => (strategy.validate?.(body, context) ?? []).map(({ path }) => path);
  return {
    create(spec: object): { spec: Spec; body: UnstructuredObject; problems: string[] } {
      const body = object(spec);
      strategy.default?.(body);
      strategy.prepareForCreate?.(body, context);
      return { spec: body['spec'] as Spec, body, problems: problemsOf(body) };
    },
    update(old: UnstructuredObject, change: object): Spec {
      const next = { ...cloneJson(old), spec: { ...(cloneJson(old)['spec'] as object), ...change } };
      strategy.default?.(next);
      strategy.prepareForUpdate?.(next, cloneJson(old), context);
      expect(strategy.validateUpdate?.(next, old, context) ?? []).toEqual([]);
      return next['spec'] as Spec;
    },
  };
}

const messageOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof StatusError) return error.message;
    throw error;
  }
  return '';
};

describe('families of Services', () => {
  const v4 = { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack', clusterIP: '10.9.0.10', clusterIPs: ['10.9.0.10'] };
  const both = { ipFamilies: ['IPv4', 'IPv6'], clusterIPs: ['10.9.0.10', 'fd10:9::a'] };
  it.each<[string, object, object]>([
    ['one of the first when nobody asks', {}, v4],
    ['the one that is asked for', { ipFamilies: ['IPv6'] }, { ipFamilyPolicy: 'SingleStack', clusterIP: 'fd10:9::a' }],
    ['the one of the address', { clusterIP: 'fd10:9::77' }, { ipFamilies: ['IPv6'], clusterIPs: ['fd10:9::77'] }],
    ['both when they are preferred', { ipFamilyPolicy: 'PreferDualStack' }, { ...both, ipFamilyPolicy: 'PreferDualStack' }],
    ['both when they are named', { ipFamilies: ['IPv4', 'IPv6'] }, { ...both, ipFamilyPolicy: 'RequireDualStack' }],
    [
      'the wanted one first',
      { ipFamilies: ['IPv6'], ipFamilyPolicy: 'RequireDualStack' },
      { ipFamilies: ['IPv6', 'IPv4'], clusterIP: 'fd10:9::a', clusterIPs: ['fd10:9::a', '10.9.0.10'] },
    ],
    [
      'both of two addresses',
      { clusterIP: '10.9.0.5', clusterIPs: ['10.9.0.5', 'fd10:9::5'] },
      { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' },
    ],
    [
      'those of a name without addresses',
      { clusterIP: 'None', ipFamilyPolicy: 'PreferDualStack' },
      { clusterIPs: ['None'], ipFamilies: ['IPv4', 'IPv6'] },
    ],
    [
      'both when a name has its endpoints from somebody else',
      { clusterIP: 'None', selector: undefined },
      { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' },
    ],
  ])('are %s', (_, spec, expected) => {
    const made = services().create(spec);
    expect(made.problems).toEqual([]);
    expect(made.spec).toMatchObject(expected);
  });

  it('are one where there is one network, and two are refused', () => {
    const single = services(['10.9.0.0/24']);
    expect(single.create({ ipFamilyPolicy: 'PreferDualStack' }).spec).toMatchObject({ ipFamilies: ['IPv4'] });
    expect(messageOf(() => single.create({ ipFamilyPolicy: 'RequireDualStack' }))).toContain('not configured for dual-stack');
    expect(messageOf(() => single.create({ ipFamilies: ['IPv6'] }))).toContain('not configured on this cluster');
  });

  it.each<[string, object, string[]]>([
    ['a family twice', { ipFamilies: ['IPv4', 'IPv4'] }, ['spec.ipFamilies[1]']],
    ['addresses of one family', { clusterIP: '10.9.0.5', clusterIPs: ['10.9.0.5', '10.9.0.6'] }, ['spec.clusterIPs']],
    [
      'an address of another family',
      { clusterIP: '10.9.0.5', clusterIPs: ['10.9.0.5'], ipFamilies: ['IPv6'] },
      ['spec.clusterIPs[0]'],
    ],
    ['two first addresses', { clusterIP: '10.9.0.5', clusterIPs: ['10.9.0.6'] }, ['spec.clusterIPs']],
    ['an unknown policy', { ipFamilyPolicy: 'Both' }, ['spec.ipFamilyPolicy']],
  ])('refuse %s', (_, spec, expected) => {
    expect(services().create(spec).problems).toEqual(expected);
  });

  it('come and go with the policy, and the first address stays', () => {
    const server = services();
    const { body } = server.create({});
    const dual = server.update(body, { ipFamilyPolicy: 'PreferDualStack' });
    expect(dual).toMatchObject({ ipFamilies: ['IPv4', 'IPv6'], clusterIPs: ['10.9.0.10', 'fd10:9::a'] });
    expect(server.update({ ...body, spec: dual }, { ipFamilyPolicy: 'SingleStack' })).toMatchObject(v4);
  });

  it('do not give an IPv6 address twice, however it is written', () => {
    const other = { apiVersion: 'v1', kind: 'Service', metadata: { uid: 'u-2' }, spec: { clusterIPs: ['fd10:9:0:0::a'] } };
    const server = services(DUAL, [other]);
    expect(server.create({ ipFamilies: ['IPv6'] }).spec.clusterIP).toBe('fd10:9::b');
    expect(messageOf(() => server.create({ clusterIP: 'fd10:9::A' }))).toContain('already allocated');
    expect(messageOf(() => server.create({ clusterIP: 'fd10:8::1' }))).toContain('not in the valid range');
  });
});

it('load balancers that keep sources have a port for health checks', () => {
  const server = services();
  const local = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', allocateLoadBalancerNodePorts: false };
  const { body, spec } = server.create(local);
  expect(spec.healthCheckNodePort).toBe(30_000);
  const { healthCheckNodePort: _, ...without } = body['spec'] as Spec;
  expect(server.update({ ...body }, { ...without, healthCheckNodePort: undefined }).healthCheckNodePort).toBe(30_000);
  expect(server.update(body, { externalTrafficPolicy: 'Cluster' }).healthCheckNodePort).toBeUndefined();
});

it('ranges know what is in them', () => {
  const range = ipRange('fd10:246:7::/112');
  expect([range.size, range.addressAt(1), range.addressAt(0xabcd)]).toEqual([65_536, 'fd10:246:7::1', 'fd10:246:7::abcd']);
  expect([range.contains('fd10:246:7::ffff'), range.contains('fd10:246:7::1:0'), range.contains('10.0.0.1')]).toEqual([
    true,
    false,
    false,
  ]);
});
