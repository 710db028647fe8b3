import type { Pod } from '@slipway/api';

/** What a label in a launcher's node selector stands for, and what a node needs to have it. */
const BY_LABEL: Readonly<Record<string, string>> = {
  'kubevirt.io/cpumanager': 'dedicated CPUs (dedicatedCpuPlacement), which no node here hands out: leave it out',
  cpumanager: 'dedicated CPUs (dedicatedCpuPlacement), which no node here hands out: leave it out',
  'kubevirt.io/realtime': 'a real-time kernel (cpu.realtime)',
  'kubevirt.io/sev': 'an AMD processor with SEV (launchSecurity.sev)',
  'kubevirt.io/sev-es': 'an AMD processor with SEV-ES (launchSecurity.sev)',
  'kubevirt.io/sev-snp': 'an AMD processor with SEV-SNP (launchSecurity.snp)',
  'kubevirt.io/tdx': 'an Intel processor with TDX (launchSecurity.tdx)',
};
const BY_PREFIX: readonly (readonly [string, (name: string) => string])[] = [
  ['cpu-model.node.kubevirt.io/', (name) => `CPU model ${name}`],
  ['cpu-feature.node.kubevirt.io/', (name) => `CPU feature ${name}`],
  ['hyperv.node.kubevirt.io/', (name) => `the Hyper-V feature ${name}, which needs KVM`],
  ['machine-type.node.kubevirt.io/', (name) => `machine type ${name}`],
  ['scheduling.node.kubevirt.io/tsc-frequency-', (name) => `a TSC of ${name} Hz`],
];
const BY_RESOURCE: readonly (readonly [RegExp, string])[] = [
  [/^hugepages-/, 'huge pages: reserve them on the host (sysctl vm.nr_hugepages) and start the node agent again'],
  [
    /^devices\.kubevirt\.io\/vhost-vsock$/,
    'the kernel module vhost_vsock for autoattachVSOCK: load it and start the node agent again',
  ],
  [/^devices\.kubevirt\.io\/(sev|tdx)$/, 'memory encryption by the processor (launchSecurity)'],
  [
    /^(?!devices\.kubevirt\.io|hugepages-|ephemeral-storage).*\/.+$/,
    'a device that a device plugin offers; nodes here offer none',
  ],
];

function ofLabel(label: string): string | undefined {
  const known = BY_LABEL[label];
  if (known !== undefined) return known;
  const match = BY_PREFIX.find(([prefix]) => label.startsWith(prefix));
  return match?.[1](label.slice(match[0].length));
}

/**
 * What the guest asks of its node, for people to whom the scheduler's words do not say it; empty when it asks for nothing
 * special. Pure.
 */
export function schedulingHint(pod: Pod | undefined, message: string): string {
  const needs: string[] = [];
  if (/node affinity\/selector/.test(message))
    for (const label of Object.keys(pod?.spec?.nodeSelector ?? {}))
      needs.push(...[ofLabel(label)].filter((text) => text !== undefined));
  for (const [, resource = ''] of message.matchAll(/Insufficient ([^\s,]*[^\s,.])/g)) {
    const text = BY_RESOURCE.find(([pattern]) => pattern.test(resource))?.[1];
    if (text !== undefined) needs.push(`${resource}: ${text}`);
  }
  return needs.length === 0 ? '' : `the guest needs a node with ${needs.join(', and ')}`;
}
