// A cluster with the controllers that the KubeVirt tasks for Tekton work with, and the rights of each task.
import { ClusterRoleKind, RoleBindingKind } from '@slipway/api';
import { cdiControllers, dataVolumeAdmission } from '@slipway/cdi';
import type { Client } from '@slipway/client';
import {
  controllers,
  isPlatformUser,
  kubeVirtControllers,
  virtAdmissionHandlers,
  virtualMachineSubresources,
} from '@slipway/controllers';
import { built, fakeNodeConnector, simulatedNode, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { clusterConfig, SLIPWAY_PROFILE } from '@slipway/virt';
import { type Requester, requesterWith } from './requests.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}
const rule = (group: string, resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups: [group],
  resources,
  verbs,
});
const READ = ['get', 'list', 'watch'];

const ROLES = {
  'create-vm-from-manifest': [
    rule('kubevirt.io', ['virtualmachines', 'virtualmachineinstances'], [...READ, 'create']),
    rule('subresources.kubevirt.io', ['virtualmachines/start'], ['update']),
    rule('cdi.kubevirt.io', ['datavolumes'], [...READ, 'create']),
  ],
  'wait-for-vmi-status': [rule('kubevirt.io', ['virtualmachineinstances'], READ)],
  'modify-data-object': [rule('cdi.kubevirt.io', ['datavolumes', 'datasources'], [...READ, 'create', 'delete'])],
  'execute-in-vm': [
    rule('kubevirt.io', ['virtualmachines', 'virtualmachineinstances'], [...READ, 'delete']),
    rule('subresources.kubevirt.io', ['virtualmachines/start', 'virtualmachines/stop', 'virtualmachines/restart'], ['update']),
  ],
  'generate-ssh-keys': [rule('', ['secrets'], ['get', 'list', 'create', 'patch'])],
  'disk-uploader': [
    rule('kubevirt.io', ['virtualmachines'], ['get']),
    rule('export.kubevirt.io', ['virtualmachineexports'], ['get', 'create']),
    rule('', ['secrets'], ['create']),
  ],
} as const satisfies Readonly<Record<string, readonly Rule[]>>;

export type TaskName = keyof typeof ROLES;

export interface TaskWorld {
  readonly world: TestWorld;
  readonly admin: Requester;
  /** A client with the rights of a task. */
  clientOf(task: TaskName): Client;
}

const VERSION = { gitVersion: 'v1', gitCommit: '', gitTreeState: '', buildDate: '', goVersion: '', compiler: '', platform: '' };
/** Beside those of KubeVirt and CDI. */
const PARTS = ['generic-garbage-collector', 'pvc-protection-controller', 'virtualmachineexport-controller'];

/** Starts the controllers; nodes are simulated, and nobody moves images. */
export async function startTaskWorld(): Promise<TaskWorld> {
  const late: { client?: Client } = {};
  const subresources = virtualMachineSubresources({
    get client(): Client {
      if (late.client === undefined) throw new Error('Not started');
      return late.client;
    },
    nodes: fakeNodeConnector(),
    version: VERSION,
    config: () => clusterConfig({}),
    expandVm: async (machine) => machine,
  });
  const world = testWorld({
    api: 'server',
    controllers: [
      ...PARTS.map(controllerNamed),
      ...kubeVirtControllers(SLIPWAY_PROFILE),
      ...cdiControllers,
      simulatedNode().registration,
    ],
    aggregatedApis: [subresources],
    admission: (client) => [
      ...virtAdmissionHandlers({
        client,
        config: () => clusterConfig(),
        now: () => new Date(0),
        newUuid: () => '00000000-0000-4000-8000-000000000001',
        isPlatform: ({ username }) => username === 'tests' || isPlatformUser({ username, groups: [] }),
      }),
      dataVolumeAdmission({ client, findClaim: async () => undefined }),
    ],
    settings: { apiUrl: 'https://1.2.3.4:6443' },
  });
  late.client = world.client;
  const metadata = { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } };
  await world.with(storageClass('local', { metadata, volumeBindingMode: 'Immediate' }), ...Object.entries(ROLES).flatMap(grant));
  await world.settle();
  const groups = ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'];
  const clientOf = (task: TaskName): Client => world.clientOf({ username: `system:serviceaccount:default:${task}`, groups });
  return { world, admin: requesterWith(world.client), clientOf };
}

function controllerNamed(wanted: string) {
  const found = controllers.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`There is no controller ${wanted}`);
  return found;
}

function grant([name, rules]: [string, readonly Rule[]]) {
  const subjects = [{ kind: 'ServiceAccount', name, namespace: 'default' }];
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name };
  return [built(ClusterRoleKind, name, { rules }), built(RoleBindingKind, `default/${name}`, { subjects, roleRef })];
}
