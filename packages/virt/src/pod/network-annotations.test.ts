import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { networkAnnotations } from './network-annotations.ts';
import { SLIPWAY_PROFILE } from './profile.ts';

const context = { config: clusterConfig({}), profile: SLIPWAY_PROFILE, claims: new Map(), networkResources: [] };
const vmi = (annotation?: string): VirtualMachineInstance =>
  ({
    metadata: {
      namespace: 'lab',
      ...(annotation !== undefined && { annotations: { 'k8s.v1.cni.cncf.io/networks': annotation } }),
    },
    spec: {
      networks: [{ name: 'blue', multus: { networkName: 'leased' } }],
      domain: { devices: { interfaces: [{ name: 'blue', bridge: {}, macAddress: '02:00:00:00:00:01' }] } },
    },
  }) as unknown as VirtualMachineInstance; // only networks matter
const annotated = (annotation?: string): object =>
  JSON.parse(networkAnnotations(vmi(annotation), context)['k8s.v1.cni.cncf.io/networks'] ?? '');

describe('networkAnnotations', () => {
  const plain = {
    name: 'leased',
    namespace: 'lab',
    mac: '02:00:00:00:00:01',
    interface: expect.stringMatching(/^pod[\da-f]{11}$/),
  };

  it.each<[string, string | undefined]>([
    ['nothing', undefined],
    ['the short form', 'leased,other'],
    ['another network', '[{"name":"leased","namespace":"default","ips":["10.0.0.1/24"]}]'],
    ['something that is no wish', '[null, 1, {"name":"leased","ips":"10.0.0.1","cni-args":[]}]'],
    ['another address of the card', '[{"name":"leased","mac":"02:00:00:00:00:99"}]'],
  ])('are made from the spec when the instance says %s', (_, annotation) => {
    expect(annotated(annotation)).toEqual([plain]);
  });

  it('pass on what the instance asks of its networks', () => {
    const wish = '[{"name":"leased","ips":["10.0.0.7/24"],"cni-args":{"tier":"gold"}}]';
    expect(annotated(wish)).toEqual([{ ...plain, ips: ['10.0.0.7/24'], 'cni-args': { tier: 'gold' } }]);
  });
});
