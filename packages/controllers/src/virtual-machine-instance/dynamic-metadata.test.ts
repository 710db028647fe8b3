import type { Pod, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { dynamicMetadata, dynamicPodMetadata } from './dynamic-metadata.ts';

const EVICT = 'descheduler.alpha.kubernetes.io/evict';
const SKIP = 'kubevirt.io/skip-backup-hooks';
const HOOK = 'pre.hook.backup.velero.io/container';

type Texts = Record<string, string>;
const vm = (template: { labels?: Texts; annotations?: Texts }, annotations: Texts = {}): VirtualMachine => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', annotations },
  spec: { template: { metadata: template, spec: { domain: { devices: {} } } } },
});
const vmi = (metadata: { labels?: Texts; annotations?: Texts }): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', namespace: 'shop', ...metadata },
  spec: { domain: { devices: {} } },
});
const pod = (metadata: { labels?: Texts; annotations?: Texts }): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'virt-launcher-web', ...metadata },
});

describe('dynamicMetadata', () => {
  it.each([
    ['gives what is new', vm({ annotations: { [EVICT]: 'true' } }), vmi({}), { [EVICT]: 'true' }],
    ['changes what differs', vm({ annotations: { [EVICT]: 'no' } }), vmi({ annotations: { [EVICT]: 'yes' } }), { [EVICT]: 'no' }],
    ['takes away what is gone', vm({}), vmi({ annotations: { [EVICT]: 'yes' } }), { [EVICT]: null }],
    ['leaves other annotations to the next start', vm({ annotations: { team: 'a' } }), vmi({}), undefined],
    ["takes the VM's own wish about backups", vm({}, { [SKIP]: 'true' }), vmi({}), { [SKIP]: 'true' }],
    ['says nothing when nothing differs', vm({ annotations: { [EVICT]: '' } }), vmi({ annotations: { [EVICT]: '' } }), undefined],
  ] as const)('%s', (_, machine, instance, annotations) => {
    expect(dynamicMetadata(machine, instance)).toEqual({ labels: undefined, annotations });
  });

  it('follows the patterns of the cluster, but never to keys of the platform', () => {
    const config = { labels: ['team', 'cost.example.com/*', '*'], annotations: ['note-*'] };
    const machine = vm({
      labels: { team: 'a', 'cost.example.com/center': '7', 'kubevirt.io/nodeName': 'evil', 'vm.kubevirt.io/name': 'evil' },
      annotations: { 'note-1': 'x', other: 'y' },
    });
    expect(dynamicMetadata(machine, vmi({ labels: { 'kubevirt.io/nodeName': 'a', old: '1' } }), config)).toEqual({
      labels: { team: 'a', 'cost.example.com/center': '7', old: null },
      annotations: { 'note-1': 'x' },
    });
  });
});

describe('dynamicPodMetadata', () => {
  it('takes the hooks of backups away and brings them back', () => {
    const hooked = pod({ annotations: { [HOOK]: 'compute' } });
    expect(dynamicPodMetadata(vmi({ annotations: { [SKIP]: 'true' } }), hooked).annotations).toEqual({
      [SKIP]: 'true',
      [HOOK]: null,
    });
    const bare = pod({ annotations: { [SKIP]: 'true' } });
    expect(dynamicPodMetadata(vmi({}), bare).annotations).toMatchObject({ [SKIP]: null, [HOOK]: 'compute' });
  });

  it('leaves a pod alone that was never concerned', () => {
    expect(dynamicPodMetadata(vmi({ labels: { team: 'a' } }), pod({}))).toEqual({ labels: undefined, annotations: undefined });
  });
});
