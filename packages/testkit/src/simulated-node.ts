import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { PodKind, VirtualMachineInstanceKind } from '@slipway/api';
import { ignoreNotFound, keyOf, type KubeObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type ControllerRegistration, done, owned } from '@slipway/runtime';
import { type MigrationFate, playMigration } from './simulated-migration.ts';

/** What becomes of launcher pods. */
export type PodFate = 'runs' | 'fails' | 'stays-pending' | 'image-pull' | 'unschedulable';

/** Plays scheduler, kubelet and node agent in tests of controllers; tests change `fate` while it runs. */
export interface SimulatedNode {
  fate: PodFate;
  /** Of target pods of migrations; undefined: that of all pods. */
  targetFate: PodFate | undefined;
  migrations: MigrationFate;
  readonly registration: ControllerRegistration;
}

export function simulatedNode(): SimulatedNode {
  const node: SimulatedNode = {
    fate: 'runs',
    targetFate: undefined,
    migrations: 'moves',
    registration: {
      name: 'simulated-node',
      create: ({ client, informers }) => {
        const vmis = informers.lister(VirtualMachineInstanceKind);
        const pods = informers.lister(PodKind);
        return {
          kind: VirtualMachineInstanceKind,
          watches: [owned(PodKind, VirtualMachineInstanceKind)],
          reconciler: {
            async reconcile(key) {
              const vmi = vmis.get(key);
              const own = vmi === undefined ? pods.list(key.namespace) : pods.ownedBy(vmi.metadata.uid ?? '');
              for (const pod of own) await playPod(client, pod, isTarget(pod) ? (node.targetFate ?? node.fate) : node.fate, vmi);
              if (vmi !== undefined) await playGuest(client, vmi);
              if (vmi !== undefined) await playMigration(client, vmi, own, node.migrations);
              return done;
            },
          },
        };
      },
    },
  };
  return node;
}

const mayStart = ({ spec, status }: Pod): boolean =>
  (status?.phase ?? 'Pending') === 'Pending' && (spec?.schedulingGates ?? []).length === 0;

async function playPod(client: Client, pod: Pod, fate: PodFate, vmi: VirtualMachineInstance | undefined): Promise<void> {
  if (pod.metadata.deletionTimestamp !== undefined) return playDeletion(client, pod, vmi);
  if (!mayStart(pod) || fate === 'stays-pending') return;
  const status = STATUS_OF[fate];
  if (pod.status?.containerStatuses !== undefined || pod.status?.conditions?.some(({ status: value }) => value === 'False'))
    return;
  const node = otherThan(isTarget(pod) ? vmi?.status?.nodeName : undefined);
  const bound = fate === 'unschedulable' ? pod : await bind(client, pod, node);
  // the pod status of the recorded shape; the published type wants fields that nobody reads here
  await client.update(PodKind, { ...bound, status } as unknown as Pod, { subresource: 'status' });
}

async function playDeletion(client: Client, pod: Pod, vmi: VirtualMachineInstance | undefined): Promise<void> {
  const hasGuest = vmi?.status?.nodeName === undefined || vmi.status.nodeName === pod.spec?.nodeName;
  if (vmi !== undefined && isActive(vmi) && hasGuest) await setPhase(client, vmi, 'Succeeded');
  await client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0 }).catch(ignoreNotFound);
}

const isTarget = ({ metadata }: Pod): boolean => metadata.labels?.['kubevirt.io/migrationJobUID'] !== undefined;
/** There are two nodes. */
const otherThan = (node: string | undefined): string => (node === 'node-a' ? 'node-b' : 'node-a');

async function bind(client: Client, pod: Pod, node: string): Promise<Pod> {
  const { name = '', namespace = '' } = pod.metadata;
  const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name, namespace }, target: { kind: 'Node', name: node } };
  await client.create<KubeObject>(PodKind, binding, { subresource: 'binding' });
  return client.get(PodKind, { namespace, name });
}

const container = (ready: boolean, state: object) => [{ name: 'compute', ready, image: '', imageID: '', restartCount: 0, state }];
const STATUS_OF = {
  runs: {
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True' }],
    containerStatuses: container(true, { running: {} }),
  },
  fails: {
    phase: 'Failed',
    conditions: [{ type: 'Ready', status: 'False' }],
    containerStatuses: container(false, { terminated: { exitCode: 1 } }),
  },
  'image-pull': {
    phase: 'Pending',
    conditions: [{ type: 'Ready', status: 'False' }],
    containerStatuses: container(false, { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } }),
  },
  unschedulable: {
    phase: 'Pending',
    conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes are available' }],
  },
} as const;

async function playGuest(client: Client, vmi: VirtualMachineInstance): Promise<void> {
  if (!isActive(vmi)) return;
  if (vmi.metadata.deletionTimestamp !== undefined) await setPhase(client, vmi, 'Succeeded');
  else if (vmi.status?.phase === 'Scheduled') await setPhase(client, vmi, 'Running');
}

/** What the node agent writes when a guest starts or ends; tests use it for crashes and shutdowns from inside. */
export async function setPhase(client: Client, vmi: VirtualMachineInstance, phase: string): Promise<void> {
  const conditions = (vmi.status?.conditions ?? []).filter(({ type }) => type !== 'LiveMigratable' && type !== 'Ready');
  await client.update(VirtualMachineInstanceKind, {
    ...vmi,
    status: {
      ...vmi.status,
      phase,
      phaseTransitionTimestamps: [...(vmi.status?.phaseTransitionTimestamps ?? []), { phase }],
      conditions: [
        ...conditions,
        {
          type: 'Ready',
          status: phase === 'Running' ? 'True' : 'False',
          ...(phase !== 'Running' && { reason: 'GuestNotRunning' }),
        },
        { type: 'LiveMigratable', status: 'True' },
      ],
    },
  });
}

const isActive = ({ status }: VirtualMachineInstance): boolean => status?.phase === 'Scheduled' || status?.phase === 'Running';
