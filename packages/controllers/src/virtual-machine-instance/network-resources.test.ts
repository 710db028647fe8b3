import type { NetworkAttachmentDefinition, VirtualMachineInstance } from '@slipway/api';
import { keyString } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import { networkResources } from './network-resources.ts';

const definition = (resourceName?: string): NetworkAttachmentDefinition => ({
  apiVersion: 'k8s.cni.cncf.io/v1',
  kind: 'NetworkAttachmentDefinition',
  metadata: { name: 'x', ...(resourceName && { annotations: { 'k8s.v1.cni.cncf.io/resourceName': resourceName } }) },
});
const known = new Map([
  ['shop/sriov', definition('example.com/sriov')],
  ['infra/vlan', definition()],
]);
const vmi: VirtualMachineInstance = {
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    domain: { devices: {} },
    networks: [
      { name: 'default', pod: {} },
      { name: 'fast', multus: { networkName: 'sriov' } },
      { name: 'lan', multus: { networkName: 'infra/vlan' } },
      { name: 'lost', multus: { networkName: 'nowhere' } },
    ],
  },
};

describe('networkResources', () => {
  it('finds definitions in the own and in other namespaces; those without device ask for nothing', () => {
    expect(networkResources(vmi, (key) => known.get(keyString(key)))).toEqual([
      { network: 'fast', resourceName: 'example.com/sriov' },
      { network: 'lan', resourceName: '' },
      { network: 'lost', resourceName: '' },
    ]);
  });
});
