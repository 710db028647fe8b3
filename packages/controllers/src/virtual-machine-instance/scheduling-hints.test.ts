import type { Pod } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { schedulingHint } from './scheduling-hints.ts';

const pod = (nodeSelector: Record<string, string>): Pod =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: {}, spec: { nodeSelector } }) as unknown as Pod; // the selector alone is read
const SELECTOR = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes …";
const lacking = (resource: string) => `0/1 nodes are available: 1 Insufficient ${resource}. preemption: 0/1 nodes …`;

describe('schedulingHint', () => {
  it.each([
    ['kubevirt.io/sev', /AMD processor with SEV \(/],
    ['kubevirt.io/sev-snp', /SEV-SNP/],
    ['kubevirt.io/tdx', /Intel processor with TDX/],
    ['kubevirt.io/cpumanager', /dedicated CPUs .* leave it out/],
    ['kubevirt.io/realtime', /real-time kernel/],
    ['cpu-model.node.kubevirt.io/Cooperlake', /CPU model Cooperlake/],
    ['hyperv.node.kubevirt.io/vpindex', /Hyper-V feature vpindex/],
  ])('names what the label %s stands for', (label, text) => {
    const hint = schedulingHint(
      pod({ 'kubernetes.io/arch': 'amd64', 'kubevirt.io/schedulable': 'true', [label]: 'true' }),
      SELECTOR,
    );
    expect(hint).toMatch(text);
    expect(hint).not.toContain('arch');
  });

  it.each([
    ['hugepages-2Mi', /^the guest needs a node with hugepages-2Mi: huge pages: reserve them/],
    ['devices.kubevirt.io/vhost-vsock', /vhost_vsock/],
    ['nvidia.com/gpu', /nvidia\.com\/gpu: a device that a device plugin offers/],
  ])('says what offers the resource %s', (resource, text) => expect(schedulingHint(pod({}), lacking(resource))).toMatch(text));

  it.each([
    ['memory', lacking('memory')],
    ['the own choice of a node', SELECTOR],
  ])('says nothing about %s', (_, message) => expect(schedulingHint(pod({ zone: 'a' }), message)).toBe(''));
});
