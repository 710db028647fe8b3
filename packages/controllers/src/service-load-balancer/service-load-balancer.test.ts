import { type Service, ServiceKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { serviceLoadBalancerController } from './index.ts';
import { planAddress } from './plan-address.ts';

const POOL = ['10.246.0.1', '10.246.0.2'];
const service = (spec: object, addresses: readonly string[] = []): Service =>
  ({ metadata: {}, spec, status: { loadBalancer: { ingress: addresses.map((ip) => ({ ip })) } } }) as unknown as Service; // only these fields matter

describe('planAddress', () => {
  const plan = (spec: object, addresses: readonly string[] = [], taken: readonly string[] = []) =>
    planAddress({ service: service(spec, addresses), pool: POOL, taken: new Set(taken) });
  const type = 'LoadBalancer';

  it.each<[string, ReturnType<typeof plan>, object]>([
    ['gives the first that is free', plan({ type }, [], ['10.246.0.1']), { kind: 'assign', addresses: ['10.246.0.2'] }],
    ['leaves what a Service has', plan({ type }, ['10.246.0.2']), { kind: 'keep' }],
    [
      'gives another for one that is not of this range any more',
      plan({ type }, ['192.0.2.1']),
      { kind: 'assign', addresses: ['10.246.0.1'] },
    ],
    ['gives the one that is named', plan({ type, loadBalancerIP: '10.246.0.2' }), { kind: 'assign', addresses: ['10.246.0.2'] }],
    [
      'changes to the one that is named',
      plan({ type, loadBalancerIP: '10.246.0.2' }, ['10.246.0.1']),
      { kind: 'assign', addresses: ['10.246.0.2'] },
    ],
    ['takes back what is no load balancer any more', plan({ type: 'ClusterIP' }, ['10.246.0.1']), { kind: 'release' }],
    ['leaves load balancers of others', plan({ type, loadBalancerClass: 'example.org/lb' }, ['192.0.2.1']), { kind: 'keep' }],
    [
      'waits when all are in use',
      plan({ type }, [], POOL),
      { kind: 'wait', message: expect.stringMatching(/All 2 addresses .* in use/) },
    ],
    [
      'waits for one of another Service',
      plan({ type, loadBalancerIP: '10.246.0.1' }, [], POOL),
      { kind: 'wait', message: expect.stringMatching(/belongs to another Service/) },
    ],
    [
      'refuses one of elsewhere',
      plan({ type, loadBalancerIP: '192.0.2.1' }),
      { kind: 'wait', message: expect.stringMatching(/10\.246\.0\.1 to 10\.246\.0\.2/) },
    ],
  ])('%s', (_, found, expected) => {
    expect(found).toEqual(expected);
  });

  it('gives one of each family, and keeps what a Service has of them', () => {
    const pool = [...POOL, 'fd10:246::1', 'fd10:246::2'];
    const of = (ipFamilies: string[], own: string[] = []) =>
      planAddress({ service: service({ type, ipFamilies }, own), pool, taken: new Set(['fd10:246::1']) });
    expect(of(['IPv6', 'IPv4'])).toEqual({ kind: 'assign', addresses: ['fd10:246::2', '10.246.0.1'] });
    expect(of(['IPv4', 'IPv6'], ['10.246.0.2'])).toEqual({ kind: 'assign', addresses: ['10.246.0.2', 'fd10:246::2'] });
    expect(of(['IPv4'], ['10.246.0.2', 'fd10:246::2'])).toEqual({ kind: 'assign', addresses: ['10.246.0.2'] });
    expect(of(['IPv6'], ['fd10:246::2'])).toEqual({ kind: 'keep' });
  });
});

describe('load balancers', () => {
  let world: TestWorld;
  afterEach(() => world.close());

  it('have addresses of their own, which come back when they are no longer used', async () => {
    const spec = { type: 'LoadBalancer', ports: [{ port: 80 }] };
    world = await testWorld({
      api: 'server',
      controllers: [serviceLoadBalancerController],
      settings: { loadBalancerAddresses: POOL },
    }).with(built(ServiceKind, 'a/one', { spec }), built(ServiceKind, 'a/two', { spec }));
    await world.settle();
    const addressOf = async (name: string): Promise<string | undefined> =>
      (await world.get(ServiceKind, name)).status?.loadBalancer?.ingress?.[0]?.ip;
    const one = await addressOf('a/one');
    expect(new Set([one, await addressOf('a/two')])).toEqual(new Set(POOL));
    await world.client.patch(ServiceKind, { namespace: 'a', name: 'one' }, { spec: { type: 'ClusterIP' } }, { type: 'merge' });
    await world.settle();
    expect(await addressOf('a/one')).toBeUndefined();
  });
});
