import type { Case } from '../replayer/case.ts';

const container = { name: 'main', image: 'any' };
const template = (spec: object = {}) => ({ metadata: { labels: { a: 'b' } }, spec: { containers: [container], ...spec } });
const selector = { matchLabels: { a: 'b' } };

/** A create that is refused, with the fields that are at fault in the order of their names. */
const refused = (name: string, path: string, object: object, fields: readonly string[]): Case => ({
  name,
  steps: [
    {
      request: `POST /${path}`,
      body: { metadata: { name: 'bad' }, ...object },
      expect: { status: 422, body: { reason: 'Invalid' }, causes: fields },
    },
  ],
});

const core = 'api/v1/namespaces/{ns}';
const apps = 'apis/apps/v1/namespaces/{ns}';
const pod = (spec: object) => ({ spec: { containers: [container], ...spec } });

export const validationCases: readonly Case[] = [
  refused(
    'a Deployment that could never roll out',
    `${apps}/deployments`,
    {
      spec: {
        ...{ selector, template: template(), minReadySeconds: 600, revisionHistoryLimit: -1 },
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } },
      },
    },
    ['spec.progressDeadlineSeconds', 'spec.revisionHistoryLimit', 'spec.strategy.rollingUpdate.maxUnavailable'],
  ),
  refused(
    'a DaemonSet that surges and takes away at once',
    `${apps}/daemonsets`,
    { spec: { selector, template: template(), updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } } },
    ['spec.updateStrategy.rollingUpdate.maxSurge'],
  ),
  refused(
    'a StatefulSet with pods that end',
    `${apps}/statefulsets`,
    {
      spec: {
        selector,
        template: template({ activeDeadlineSeconds: 5 }),
        minReadySeconds: -1,
        updateStrategy: { type: 'Maybe' },
      },
    },
    ['spec.minReadySeconds', 'spec.template.spec.activeDeadlineSeconds', 'spec.updateStrategy'],
  ),
  refused(
    'a CronJob in a zone that nobody knows',
    'apis/batch/v1/namespaces/{ns}/cronjobs',
    {
      spec: {
        ...{ schedule: '0 0 * * *', timeZone: 'Nowhere/Land', startingDeadlineSeconds: -1 },
        jobTemplate: { spec: { manualSelector: true, template: template({ restartPolicy: 'Never' }) } },
      },
    },
    ['spec.jobTemplate.spec.manualSelector', 'spec.startingDeadlineSeconds', 'spec.timeZone'],
  ),
  refused(
    'an autoscaler without bounds or target',
    'apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers',
    { spec: { minReplicas: 0, maxReplicas: 0, scaleTargetRef: {} } },
    ['spec.maxReplicas', 'spec.minReplicas', 'spec.scaleTargetRef.kind', 'spec.scaleTargetRef.name'],
  ),
  refused(
    'a NetworkPolicy with peers and ports that cannot be',
    'apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies',
    {
      spec: {
        podSelector: {},
        ingress: [{ from: [{}, { ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/9'] } }], ports: [{ port: 9, endPort: 8 }] }],
        policyTypes: ['Sideways'],
      },
    },
    [
      'spec.ingress[0].from[0]',
      'spec.ingress[0].from[1].ipBlock.except[0]',
      'spec.ingress[0].ports[0].endPort',
      'spec.policyTypes[0]',
    ],
  ),
  refused(
    'an EndpointSlice with addresses of another kind',
    'apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices',
    { addressType: 'IPv4', endpoints: [{ addresses: ['fd00::1'] }, { addresses: [] }], ports: [{ name: 'Upper', port: 80 }] },
    ['endpoints[0].addresses[0]', 'endpoints[1].addresses', 'ports[0].name'],
  ),
  refused(
    'a pod with affinities that select nothing',
    `${core}/pods`,
    pod({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] },
          preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 101, preference: {} }],
        },
      },
    }),
    [
      'spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight',
      'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms',
    ],
  ),
  refused(
    'a pod that tolerates what it does not name',
    `${core}/pods`,
    pod({ tolerations: [{ operator: 'Equal' }, { key: 'k', operator: 'Exists', value: 'v' }] }),
    ['spec.tolerations[0].operator', 'spec.tolerations[1].operator'],
  ),
  refused(
    'a pod whose probes ask in no way, or in two',
    `${core}/pods`,
    {
      spec: {
        containers: [
          {
            ...container,
            livenessProbe: { exec: { command: ['x'] }, successThreshold: 2 },
            readinessProbe: {},
            lifecycle: { preStop: {} },
          },
        ],
        initContainers: [{ name: 'first', image: 'any', startupProbe: { tcpSocket: { port: 1 } } }],
      },
    },
    [
      'spec.containers[0].lifecycle.preStop',
      'spec.containers[0].livenessProbe.successThreshold',
      'spec.containers[0].readinessProbe',
      'spec.initContainers[0].startupProbe',
    ],
  ),
  refused(
    'a pod with names and users that are none',
    `${core}/pods`,
    pod({ hostname: 'Up', dnsPolicy: 'None', securityContext: { runAsUser: -1 }, nodeSelector: { 'a b': 'c' } }),
    ['spec.dnsConfig', 'spec.hostname', 'spec.nodeSelector', 'spec.securityContext.runAsUser'],
  ),
];
