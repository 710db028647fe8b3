import { type Case, absent } from '../replayer/case.ts';

const PODS = '/api/v1/namespaces/{ns}/pods';
const pod = (name: string, container: object = {}, spec: object = {}) => ({
  metadata: { name },
  spec: { schedulerName: 'nobody', containers: [{ name: 'main', image: 'registry.invalid/app:1', ...container }], ...spec },
});
const account = {
  request: 'GET /api/v1/namespaces/{ns}/serviceaccounts/default',
  eventually: true,
  expect: { status: 200 },
} as const;

export const admissionCases: readonly Case[] = [
  {
    name: 'limit ranges fill in and forbid',
    steps: [
      account,
      {
        request: 'POST /api/v1/namespaces/{ns}/limitranges',
        body: {
          metadata: { name: 'sizes' },
          spec: { limits: [{ type: 'Container', default: { memory: '64Mi' }, max: { memory: '128Mi' } }] },
        },
        expect: { status: 201 },
      },
      {
        request: `POST ${PODS}`,
        body: pod('fits'),
        expect: {
          status: 201,
          body: { spec: { containers: [{ resources: { limits: { memory: '64Mi' }, requests: { memory: '64Mi' } } }] } },
        },
      },
      {
        request: `POST ${PODS}`,
        body: pod('large', { resources: { limits: { memory: '1Gi' } } }),
        expect: { status: 403, text: 'maximum memory usage per Container is 128Mi, but limit is 1Gi' },
      },
    ],
  },
  {
    name: 'quotas count what is there and refuse what is too much',
    steps: [
      account,
      {
        request: 'POST /api/v1/namespaces/{ns}/resourcequotas',
        body: { metadata: { name: 'few' }, spec: { hard: { 'count/configmaps': '2' } } },
        expect: { status: 201 },
      },
      {
        request: 'GET /api/v1/namespaces/{ns}/resourcequotas/few',
        eventually: true,
        // the certificate of the cluster is in one already
        expect: { status: 200, body: { status: { used: { 'count/configmaps': '1' } } } },
      },
      { request: 'POST /api/v1/namespaces/{ns}/configmaps', body: { metadata: { name: 'second' } }, expect: { status: 201 } },
      {
        request: 'POST /api/v1/namespaces/{ns}/configmaps',
        body: { metadata: { name: 'third' } },
        expect: { status: 403, text: 'exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=2' },
      },
    ],
  },
  {
    name: 'security levels of a namespace refuse and warn',
    steps: [
      account,
      {
        request: 'PATCH /api/v1/namespaces/{ns}',
        type: 'application/merge-patch+json',
        body: {
          metadata: {
            labels: { 'pod-security.kubernetes.io/enforce': 'baseline', 'pod-security.kubernetes.io/warn': 'restricted' },
          },
        },
        expect: { status: 200 },
      },
      {
        request: `POST ${PODS}`,
        body: pod('root', {}, { hostPID: true }),
        expect: { status: 403, text: 'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)' },
      },
      {
        request: `POST ${PODS}`,
        body: pod('plain'),
        expect: { status: 201, warning: 'would violate PodSecurity \\"restricted:latest\\"' },
      },
    ],
  },
  {
    name: 'a failing webhook refuses or is passed over, as its policy says',
    steps: [
      {
        request: 'POST /apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
        body: {
          metadata: { name: '{ns}' },
          webhooks: ['Fail', 'Ignore'].map((failurePolicy) => ({
            name: `${failurePolicy.toLowerCase()}.example.com`,
            failurePolicy,
            sideEffects: 'None',
            admissionReviewVersions: ['v1'],
            clientConfig: { service: { namespace: '{ns}', name: 'nobody' } },
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': '{ns}' } },
            objectSelector: { matchLabels: { policy: failurePolicy } },
            rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['secrets'] }],
          })),
        },
        expect: { status: 201 },
      },
      {
        request: 'POST /api/v1/namespaces/{ns}/secrets',
        body: { metadata: { name: 'strict', labels: { policy: 'Fail' } } },
        expect: { status: 500, text: 'failed calling webhook "fail.example.com"' },
      },
      {
        request: 'POST /api/v1/namespaces/{ns}/secrets',
        body: { metadata: { name: 'lenient', labels: { policy: 'Ignore' } } },
        expect: { status: 201 },
      },
    ],
  },
  {
    name: 'a namespace empties itself and goes',
    steps: [
      account,
      {
        request: 'POST /api/v1/namespaces/{ns}/secrets',
        body: { metadata: { name: 'held', finalizers: ['example.com/hold'] } },
        expect: { status: 201 },
      },
      { request: 'DELETE /api/v1/namespaces/{ns}', expect: { status: 200, body: { status: { phase: 'Terminating' } } } },
      {
        request: 'POST /api/v1/namespaces/{ns}/secrets',
        body: { metadata: { name: 'late' } },
        expect: { status: 403, text: 'because it is being terminated' },
      },
      {
        request: 'GET /api/v1/namespaces/{ns}/secrets/held',
        eventually: true,
        expect: { status: 200, body: { metadata: { deletionTimestamp: /Z$/ } } },
      },
      {
        request: 'PATCH /api/v1/namespaces/{ns}/secrets/held',
        type: 'application/merge-patch+json',
        body: { metadata: { finalizers: null } },
        expect: { status: 200 },
      },
      { request: 'GET /api/v1/namespaces/{ns}', eventually: true, expect: { status: 404 } },
    ],
  },
  {
    name: 'dependents go with their owner, or stay as orphans',
    steps: [
      {
        request: 'POST /api/v1/namespaces/{ns}/configmaps',
        body: { metadata: { name: 'owner' } },
        capture: { uid: 'metadata.uid' },
        expect: { status: 201 },
      },
      {
        request: 'POST /api/v1/namespaces/{ns}/configmaps',
        body: {
          metadata: { name: 'owned', ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: '{uid}' }] },
        },
        expect: { status: 201 },
      },
      {
        request: 'DELETE /api/v1/namespaces/{ns}/configmaps/owner?propagationPolicy=Orphan',
        expect: { status: 200 },
      },
      {
        request: 'GET /api/v1/namespaces/{ns}/configmaps/owned',
        eventually: true,
        expect: { status: 200, body: { metadata: { ownerReferences: absent } } },
      },
    ],
  },
];
