import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { guestResolver } from './guest-resolver.ts';

const resolverFor = (spec?: object) =>
  guestResolver({
    vmi: spec && ({ spec } as VirtualMachineInstance), // only names matter
    namespace: 'a',
    host: { nameservers: ['192.0.2.53'], searches: ['example.org'] },
    cluster: ['10.244.0.1'],
  });
const CLUSTER = ['a.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'example.org'];

describe('guestResolver', () => {
  it.each([
    [undefined, { nameservers: ['10.244.0.1'], searches: CLUSTER }],
    [{ subdomain: 'vms' }, { nameservers: ['10.244.0.1'], searches: ['vms.a.svc.cluster.local', ...CLUSTER] }],
    [{ dnsPolicy: 'Default' }, { nameservers: ['192.0.2.53'], searches: ['example.org'] }],
    [
      { dnsPolicy: 'None', dnsConfig: { nameservers: ['198.51.100.1'], searches: ['corp'] } },
      { nameservers: ['198.51.100.1'], searches: ['corp'] },
    ],
    [{ dnsConfig: { searches: ['corp'] } }, { nameservers: ['10.244.0.1'], searches: [...CLUSTER, 'corp'] }],
  ])('%j', (spec, expected) => {
    expect(resolverFor(spec)).toEqual(expected);
  });
});
