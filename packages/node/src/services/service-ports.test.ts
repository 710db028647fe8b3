import type { EndpointSlice, Service } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { servicePorts, slicesByService } from './service-ports.ts';

const service = (spec: object, status: object = {}): Service =>
  ({
    metadata: { name: 'web', namespace: 'a' },
    spec: { type: 'ClusterIP', clusterIP: '10.0.0.9', clusterIPs: ['10.0.0.9'], ports: [{ port: 80, protocol: 'TCP' }], ...spec },
    status,
  }) as unknown as Service; // only these fields matter

const READY = { ready: true, serving: true, terminating: false };
const endpoint = (address: string, nodeName = 'here', conditions: object = READY) => ({
  addresses: [address],
  nodeName,
  conditions,
});
const slice = (endpoints: object[], more: object = {}): EndpointSlice =>
  ({
    metadata: { name: 'web-ipv4', namespace: 'a', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    ...more,
  }) as unknown as EndpointSlice; // only these fields matter

const addressesOf = (spec: object, endpoints: object[]): { inside: string[]; outside: string[] } => {
  const [port] = servicePorts(service(spec), [slice(endpoints)], 'here');
  const list = (targets: readonly { address: string }[] = []) => targets.map(({ address }) => address);
  return { inside: list(port?.targets), outside: list(port?.externalTargets) };
};

describe('servicePorts', () => {
  it('leads from the port of the Service to that of the endpoint', () => {
    expect(servicePorts(service({}), [slice([endpoint('10.1.0.2')])], 'here')).toEqual([
      {
        id: 'a/web:',
        family: 4,
        protocol: 'tcp',
        port: 80,
        clusterIPs: ['10.0.0.9'],
        externalIPs: [],
        targets: [{ address: '10.1.0.2', port: 8080, isLocal: true }],
        externalTargets: [{ address: '10.1.0.2', port: 8080, isLocal: true }],
        hasEndpoints: true,
        keepsSource: false,
      },
    ]);
  });

  it.each([
    ['has no address', { clusterIP: 'None', clusterIPs: ['None'] }],
    ['is a name', { type: 'ExternalName', clusterIP: undefined, clusterIPs: undefined }],
    ['has not got its address yet', { clusterIP: '', clusterIPs: [] }],
  ])('is nothing when the Service %s', (_, spec) => {
    expect(servicePorts(service(spec), [], 'here')).toEqual([]);
  });

  const terminating = { ready: false, serving: true, terminating: true };
  const unready = { ready: false, serving: false, terminating: false };
  it.each<[string, object, object[], { inside: string[]; outside: string[] }]>([
    [
      'ready ones',
      {},
      [endpoint('10.1.0.2'), endpoint('10.1.0.3', 'here', unready)],
      { inside: ['10.1.0.2'], outside: ['10.1.0.2'] },
    ],
    [
      'those that still serve when none is ready',
      {},
      [endpoint('10.1.0.3', 'here', terminating)],
      { inside: ['10.1.0.3'], outside: ['10.1.0.3'] },
    ],
    [
      'ready ones rather than ending ones',
      {},
      [endpoint('10.1.0.3', 'here', terminating), endpoint('10.1.0.2')],
      { inside: ['10.1.0.2'], outside: ['10.1.0.2'] },
    ],
    [
      'near ones alone for internalTrafficPolicy Local',
      { internalTrafficPolicy: 'Local' },
      [endpoint('10.1.0.2'), endpoint('10.2.0.2', 'there')],
      { inside: ['10.1.0.2'], outside: ['10.1.0.2', '10.2.0.2'] },
    ],
    [
      'near ones for clients outside with externalTrafficPolicy Local',
      { type: 'NodePort', externalTrafficPolicy: 'Local' },
      [endpoint('10.1.0.2'), endpoint('10.2.0.2', 'there')],
      { inside: ['10.1.0.2', '10.2.0.2'], outside: ['10.1.0.2'] },
    ],
  ])('takes %s', (_, spec, endpoints, expected) => {
    expect(addressesOf(spec, endpoints)).toEqual(expected);
  });

  it('listens at node ports and addresses of load balancers, of its own family', () => {
    const spec = {
      type: 'LoadBalancer',
      ports: [{ port: 80, protocol: 'UDP', nodePort: 30_080 }],
      externalIPs: ['192.0.2.7', '2001:db8::7'],
      loadBalancerSourceRanges: ['198.51.100.0/24'],
      sessionAffinity: 'ClientIP',
    };
    const status = { loadBalancer: { ingress: [{ ip: '192.0.2.8' }] } };
    expect(servicePorts(service(spec, status), [slice([endpoint('10.1.0.2')])], 'here')).toMatchObject([
      {
        protocol: 'udp',
        nodePort: 30_080,
        externalIPs: ['192.0.2.8', '192.0.2.7'],
        sourceRanges: ['198.51.100.0/24'],
        affinitySeconds: 10_800,
      },
    ]);
  });

  it('has one port for each family of a dual-stack Service', () => {
    const dual = service({ clusterIPs: ['10.0.0.9', 'fd00::9'] });
    const six = slice([endpoint('fd10::2')], { addressType: 'IPv6' });
    expect(servicePorts(dual, [slice([endpoint('10.1.0.2')]), six], 'here')).toMatchObject([
      { family: 4, targets: [{ address: '10.1.0.2' }] },
      { family: 6, targets: [{ address: 'fd10::2' }] },
    ]);
  });

  it('takes each endpoint once, from all slices of the Service', () => {
    const slices = [slice([endpoint('10.1.0.2')]), slice([endpoint('10.1.0.2'), endpoint('10.1.0.3')])];
    expect(slicesByService(slices).get('a/web')).toHaveLength(2);
    expect(servicePorts(service({}), slices, 'here')[0]?.targets).toHaveLength(2);
  });
});
