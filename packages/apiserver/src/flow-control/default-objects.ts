import type { UnstructuredObject } from '@slipway/apimachinery';

export const FLOW_CONTROL_GROUP = 'flowcontrol.apiserver.k8s.io';
const API_VERSION = `${FLOW_CONTROL_GROUP}/v1beta3`;
const EVERYBODY = [group('system:unauthenticated'), group('system:authenticated')];
const ANYTHING = { verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*'] };
const ANY_PATH = { verbs: ['*'], nonResourceURLs: ['*'] };

function group(name: string): object {
  return { kind: 'Group', group: { name } };
}

const user = (name: string): object => ({ kind: 'User', user: { name } });
const accounts = (namespace: string): object => ({ kind: 'ServiceAccount', serviceAccount: { namespace, name: '*' } });

interface Queues {
  readonly queues: number;
  readonly handSize: number;
}

const metadata = (name: string): UnstructuredObject['metadata'] => ({
  name,
  annotations: { 'apf.kubernetes.io/autoupdate-spec': 'true' },
});

/** `queues` absent: what does not find a seat is refused at once. */
function level(name: string, shares: number, lendablePercent: number, queues?: Queues): UnstructuredObject {
  const limitResponse =
    queues === undefined ? { type: 'Reject' } : { type: 'Queue', queuing: { ...queues, queueLengthLimit: 50 } };
  return {
    apiVersion: API_VERSION,
    kind: 'PriorityLevelConfiguration',
    metadata: metadata(name),
    spec: { type: 'Limited', limited: { nominalConcurrencyShares: shares, lendablePercent, limitResponse } },
    status: {},
  };
}

const exempt: UnstructuredObject = {
  apiVersion: API_VERSION,
  kind: 'PriorityLevelConfiguration',
  metadata: metadata('exempt'),
  spec: { type: 'Exempt' },
  status: {},
};

/** The priority levels that every cluster has. */
export const defaultPriorityLevels = (): UnstructuredObject[] => [
  exempt,
  level('catch-all', 5, 0),
  level('system', 30, 33, { queues: 64, handSize: 6 }),
  level('node-high', 40, 25, { queues: 64, handSize: 6 }),
  level('leader-election', 10, 0, { queues: 16, handSize: 4 }),
  level('workload-high', 40, 50, { queues: 128, handSize: 6 }),
  level('workload-low', 100, 90, { queues: 128, handSize: 6 }),
  level('global-default', 20, 50, { queues: 128, handSize: 6 }),
];

interface Rules {
  readonly subjects: readonly object[];
  readonly resourceRules?: readonly object[];
  readonly nonResourceRules?: readonly object[];
}

function schema(
  name: string,
  matchingPrecedence: number,
  levelName: string,
  flow: 'ByUser' | 'ByNamespace' | undefined,
  rules: Rules,
): UnstructuredObject {
  return {
    apiVersion: API_VERSION,
    kind: 'FlowSchema',
    metadata: metadata(name),
    spec: {
      priorityLevelConfiguration: { name: levelName },
      matchingPrecedence,
      ...(flow !== undefined && { distinguisherMethod: { type: flow } }),
      rules: [rules],
    },
    status: {},
  };
}

const locks = (subjects: readonly object[]): Rules => ({
  subjects,
  resourceRules: [
    { verbs: ['get', 'create', 'update'], apiGroups: [''], resources: ['endpoints', 'configmaps'], namespaces: ['kube-system'] },
    { verbs: ['get', 'create', 'update'], apiGroups: ['coordination.k8s.io'], resources: ['leases'], namespaces: ['*'] },
  ],
});
const everything = (subjects: readonly object[]): Rules => ({
  subjects,
  resourceRules: [ANYTHING],
  nonResourceRules: [ANY_PATH],
});
const NODES = [group('system:nodes')];

/** The flow schemas that every cluster has: which requests belong to which level. */
export const defaultFlowSchemas = (): UnstructuredObject[] => [
  schema('exempt', 1, 'exempt', undefined, everything([group('system:masters')])),
  schema('probes', 2, 'exempt', undefined, {
    subjects: EVERYBODY,
    nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/healthz', '/readyz', '/livez'] }],
  }),
  schema(
    'system-leader-election',
    100,
    'leader-election',
    'ByUser',
    locks([user('system:kube-controller-manager'), user('system:kube-scheduler'), accounts('kube-system')]),
  ),
  schema('endpoint-controller', 150, 'workload-high', 'ByUser', {
    subjects: [user('system:kube-controller-manager'), accounts('kube-system')],
    resourceRules: [{ verbs: ['get', 'create', 'update'], apiGroups: [''], resources: ['endpoints'], namespaces: ['*'] }],
  }),
  schema('workload-leader-election', 200, 'leader-election', 'ByUser', locks([accounts('kube-system')])),
  schema('system-node-high', 400, 'node-high', 'ByUser', {
    subjects: NODES,
    resourceRules: [
      { verbs: ['*'], apiGroups: [''], resources: ['nodes', 'nodes/status'], clusterScope: true, namespaces: ['*'] },
      { verbs: ['*'], apiGroups: ['coordination.k8s.io'], resources: ['leases'], namespaces: ['*'] },
    ],
  }),
  schema('system-nodes', 500, 'system', 'ByUser', everything(NODES)),
  schema('kube-controller-manager', 800, 'workload-high', 'ByNamespace', everything([user('system:kube-controller-manager')])),
  schema('kube-scheduler', 800, 'workload-high', 'ByNamespace', everything([user('system:kube-scheduler')])),
  schema('kube-system-service-accounts', 900, 'workload-high', 'ByNamespace', everything([accounts('kube-system')])),
  schema('service-accounts', 9000, 'workload-low', 'ByUser', everything([group('system:serviceaccounts')])),
  schema('global-default', 9900, 'global-default', 'ByUser', everything(EVERYBODY)),
  schema('catch-all', 10_000, 'catch-all', 'ByUser', everything(EVERYBODY)),
];
