import {
  type GuestStats,
  KubeVirtKind,
  NodeKind,
  NodeVerb,
  PersistentVolumeClaimKind,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import { isObject } from '@slipway/apimachinery';
import { type ControllerRegistration, done, type MetricFamily, type MetricFilter, type NodeConnector } from '@slipway/runtime';
import { memoryOverheadBytes, SLIPWAY_PROFILE } from '@slipway/virt';
import { clusterFacts } from '../virtual-machine/cluster-facts.ts';
import { controlPlaneMetrics } from './control-plane-metrics.ts';
import { domainMetricNames, domainMetrics } from './domain-metrics.ts';
import { EventCounts } from './event-counts.ts';
import { PhaseTimes } from './phase-times.ts';
import { vmMetrics } from './vm-metrics.ts';
import { vmiMetrics } from './vmi-metrics.ts';

/** A guest whose node does not answer within this time is left out of a scrape. */
const STATS_TIMEOUT_MS = 5_000;
const LAUNCHER = 'virt-launcher';

/** KubeVirt's metrics. Nodes are asked for the figures of their guests when somebody scrapes, and only then. */
export const kubeVirtMetrics: ControllerRegistration = {
  name: 'kubevirt-metrics',
  rules: [],
  create({ clock, informers, nodes, settings }) {
    const [vms, vmis] = [informers.lister(VirtualMachineKind), informers.lister(VirtualMachineInstanceKind)];
    const [migrations, claims] = [
      informers.lister(VirtualMachineInstanceMigrationKind),
      informers.lister(PersistentVolumeClaimKind),
    ];
    const [pods, hosts, kubevirts] = [informers.lister(PodKind), informers.lister(NodeKind), informers.lister(KubeVirtKind)];
    const snapshots = informers.lister(VirtualMachineSnapshotKind);
    const facts = clusterFacts(informers, {});
    const times = new PhaseTimes();
    const counts = new EventCounts(clock.now());
    informers.for(VirtualMachineKind).addHandler((event) => counts.noteVm(event));
    informers.for(VirtualMachineInstanceKind).addHandler((event) => counts.noteVmi(event));
    informers.for(VirtualMachineInstanceMigrationKind).addHandler((event) => counts.noteMigration(event));
    const overhead = (vmi: VirtualMachineInstance): number =>
      memoryOverheadBytes(vmi, { profile: SLIPWAY_PROFILE, config: facts.config(), emulation: facts.emulation() });
    return {
      kind: VirtualMachineInstanceKind,
      predicate: ({ object, old }) => JSON.stringify(phasesOf(object)) !== JSON.stringify(old && phasesOf(old)),
      concurrency: 1,
      reconciler: {
        async reconcile(key) {
          times.note(key, vmis.get(key));
          return done;
        },
      },
      async metrics(wanted: MetricFilter): Promise<readonly MetricFamily[]> {
        const [kubevirt] = kubevirts.list();
        const instances = vmis.list();
        const failedLaunchers = pods
          .list()
          .filter(({ metadata, status }) => status?.phase === 'Failed' && metadata.labels?.['kubevirt.io'] === LAUNCHER);
        return [
          ...controlPlaneMetrics({ kubevirt, nodes: hosts.list(), failedLaunchers, version: settings.version }),
          ...vmMetrics(vms.list(), (namespace, name) => claims.get({ namespace, name })),
          ...vmiMetrics(instances, migrations.list(), {
            overhead,
            snapshots: snapshots.list(),
          }),
          ...times.families(),
          ...counts.families(),
          ...(domainMetricNames().some(wanted) ? domainMetrics(await guestsOf(nodes, instances)) : []),
        ];
      },
    };
  },
};

const phasesOf = (object: object): unknown => (object as VirtualMachineInstance).status?.phaseTransitionTimestamps; // the kind above

async function guestsOf(nodes: NodeConnector, vmis: readonly VirtualMachineInstance[]) {
  const running = vmis.filter(({ status }) => status?.phase === 'Running' && status.nodeName);
  const signal = AbortSignal.timeout(STATS_TIMEOUT_MS);
  const answers = await Promise.all(running.map(async (vmi) => ({ vmi, stats: await statsOf(nodes, vmi, signal) })));
  return answers.flatMap(({ vmi, stats }) => (stats === undefined ? [] : [{ vmi, stats }]));
}

/** Undefined when the node or the guest is gone meanwhile. */
async function statsOf(nodes: NodeConnector, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<GuestStats | undefined> {
  const { namespace = '', name = '', uid = '' } = vmi.metadata;
  const agent = (vmi.status?.conditions ?? []).some(({ type, status }) => type === 'AgentConnected' && status === 'True');
  const { startTimestamp, endTimestamp } = vmi.status?.migrationState ?? {};
  const migrating = Boolean(startTimestamp) && !endTimestamp;
  const call = { verb: NodeVerb.stats, params: { namespace, name, uid, agent, migrating } };
  const answer = await nodes.call(vmi.status?.nodeName ?? '', call, signal).catch(() => undefined);
  return isObject(answer) && isObject(answer['domain']) ? (answer as unknown as GuestStats) : undefined; // from our own agent
}
