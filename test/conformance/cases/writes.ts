import { type Case, absent } from '../replayer/case.ts';

const MAPS = '/api/v1/namespaces/{ns}/configmaps';
const config = (name: string, data: unknown, rest: object = {}) => ({ metadata: { name, ...rest }, data });

export const writeCases: readonly Case[] = [
  {
    name: 'a created object gets an identity, and a second of its name is refused',
    steps: [
      {
        request: `POST ${MAPS}`,
        body: config('settings', { colour: 'blue' }),
        expect: { status: 201, body: { metadata: { uid: /^[0-9a-f-]{36}$/, namespace: '{ns}', generation: absent } } },
      },
      { request: `POST ${MAPS}`, body: config('settings', {}), expect: { status: 409, body: { reason: 'AlreadyExists' } } },
    ],
  },
  {
    name: 'writing what is there already changes no version',
    steps: [
      {
        request: `POST ${MAPS}`,
        body: config('same', { a: '1' }),
        capture: { version: 'metadata.resourceVersion' },
        expect: { status: 201 },
      },
      {
        request: `PUT ${MAPS}/same`,
        body: config('same', { a: '1' }),
        expect: { status: 200, body: { metadata: { resourceVersion: '{version}' } } },
      },
    ],
  },
  {
    name: 'a stale version is a conflict',
    steps: [
      {
        request: `POST ${MAPS}`,
        body: config('raced', {}),
        capture: { old: 'metadata.resourceVersion' },
        expect: { status: 201 },
      },
      { request: `PUT ${MAPS}/raced`, body: config('raced', { winner: 'x' }), expect: { status: 200 } },
      {
        request: `PUT ${MAPS}/raced`,
        body: config('raced', { loser: 'y' }, { resourceVersion: '{old}' }),
        expect: { status: 409, body: { reason: 'Conflict' }, text: 'the object has been modified' },
      },
    ],
  },
  {
    name: 'a dry run answers and stores nothing',
    steps: [
      { request: `POST ${MAPS}?dryRun=All`, body: config('ghost', {}), expect: { status: 201 } },
      { request: `GET ${MAPS}/ghost`, expect: { status: 404, body: { reason: 'NotFound', details: { name: 'ghost' } } } },
    ],
  },
  {
    name: 'unknown and repeated fields are told or refused as the client wishes',
    steps: [
      {
        request: `POST ${MAPS}?fieldValidation=Strict`,
        body: '{"metadata":{"name":"odd"},"dada":{}}',
        expect: { status: 400, text: 'unknown field "dada"' },
      },
      {
        request: `POST ${MAPS}?fieldValidation=Strict`,
        body: '{"metadata":{"name":"odd"},"data":{"k":"1","k":"2"}}',
        expect: { status: 400, text: 'duplicate field "data.k"' },
      },
      {
        request: `POST ${MAPS}?fieldValidation=Warn`,
        body: '{"metadata":{"name":"odd"},"data":{"k":"1","k":"2"},"dada":{}}',
        expect: { status: 201, body: { data: { k: '2' } }, warning: 'duplicate field' },
      },
      {
        request: `PATCH ${MAPS}/odd?fieldValidation=Strict`,
        type: 'application/merge-patch+json',
        body: { dada: 1 },
        expect: { status: 422, body: { details: { causes: [{ field: 'patch' }] } } },
      },
    ],
  },
  {
    name: 'YAML is read as YAML 1.1, and failures come back in it',
    steps: [
      {
        request: `POST ${MAPS}`,
        type: 'application/yaml',
        body: 'metadata:\n  name: yaml\n  annotations: {when: 2024-05-06T07:08:09Z}\ndata:\n  y: "1"\n',
        expect: { status: 201, body: { metadata: { annotations: { when: '2024-05-06T07:08:09Z' } }, data: { true: '1' } } },
      },
      {
        request: `GET ${MAPS}/none`,
        accept: 'application/yaml',
        expect: { status: 404, contentType: 'application/yaml', text: 'reason: NotFound' },
      },
    ],
  },
  {
    name: 'patches of three kinds',
    steps: [
      { request: `POST ${MAPS}`, body: config('patched', { a: '1', b: '2' }), expect: { status: 201 } },
      {
        request: `PATCH ${MAPS}/patched`,
        type: 'application/merge-patch+json',
        body: { data: { a: null, c: '3' } },
        expect: { status: 200, body: { data: { a: absent, b: '2', c: '3' } } },
      },
      {
        request: `PATCH ${MAPS}/patched`,
        type: 'application/json-patch+json',
        body: [
          { op: 'test', path: '/data/b', value: '2' },
          { op: 'move', from: '/data/b', path: '/data/d' },
        ],
        expect: { status: 200, body: { data: { b: absent, d: '2' } } },
      },
      {
        request: `PATCH ${MAPS}/patched`,
        type: 'application/json-patch+json',
        body: [{ op: 'test', path: '/data/d', value: 'other' }],
        expect: { status: 422, body: { reason: 'Invalid' } },
      },
      {
        request: `PATCH ${MAPS}/patched`,
        type: 'application/merge-patch+json',
        body: { data: { d: 5 } },
        expect: { status: 422, body: { details: { causes: [{ field: 'patch' }] } } },
      },
    ],
  },
  {
    name: 'two appliers disagree until one insists',
    steps: [
      {
        request: `PATCH ${MAPS}/shared?fieldManager=first`,
        type: 'application/apply-patch+yaml',
        body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'shared' }, data: { owner: 'first' } },
        expect: { status: 201 },
      },
      {
        request: `PATCH ${MAPS}/shared?fieldManager=second`,
        type: 'application/apply-patch+yaml',
        body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'shared' }, data: { owner: 'second' } },
        expect: { status: 409, body: { details: { causes: [{ field: '.data.owner', reason: 'FieldManagerConflict' }] } } },
      },
      {
        request: `PATCH ${MAPS}/shared?fieldManager=second&force=true`,
        type: 'application/apply-patch+yaml',
        body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'shared' }, data: { owner: 'second' } },
        expect: { status: 200, body: { data: { owner: 'second' } } },
      },
    ],
  },
  {
    name: 'what the server adds belongs to nobody',
    steps: [
      {
        request: 'POST /api/v1/namespaces/{ns}/services?fieldManager=me',
        body: { metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } },
        expect: {
          status: 201,
          body: {
            metadata: {
              managedFields: [
                { manager: 'me', fieldsV1: { 'f:spec': { 'f:type': {}, 'f:clusterIP': absent, 'f:ipFamilies': absent } } },
              ],
            },
          },
        },
      },
      {
        request: 'POST /api/v1/namespaces/{ns}/persistentvolumeclaims?fieldManager=me',
        body: {
          metadata: { name: 'data' },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
        },
        expect: {
          status: 201,
          body: {
            metadata: {
              finalizers: ['kubernetes.io/pvc-protection'],
              managedFields: [{ manager: 'me', fieldsV1: { 'f:metadata': absent, 'f:spec': { 'f:accessModes': {} } } }],
            },
          },
        },
      },
    ],
  },
  {
    name: 'an autoscaler reads the same in both versions',
    steps: [
      {
        request: 'POST /apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers',
        body: {
          metadata: { name: 'web' },
          spec: {
            maxReplicas: 3,
            targetCPUUtilizationPercentage: 60,
            scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
          },
        },
        expect: {
          status: 201,
          body: { apiVersion: 'autoscaling/v1', spec: { targetCPUUtilizationPercentage: 60, minReplicas: 1 } },
        },
      },
      {
        request: 'PATCH /apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers/web',
        type: 'application/merge-patch+json',
        body: { spec: { behavior: { scaleDown: { stabilizationWindowSeconds: 30 } } } },
        expect: {
          status: 200,
          body: {
            apiVersion: 'autoscaling/v2',
            spec: {
              targetCPUUtilizationPercentage: absent,
              metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 60 } } }],
              behavior: { scaleUp: { selectPolicy: 'Max' }, scaleDown: { stabilizationWindowSeconds: 30 } },
            },
          },
        },
      },
      {
        request: 'GET /apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers/web',
        expect: {
          status: 200,
          body: {
            apiVersion: 'autoscaling/v1',
            metadata: { annotations: { 'autoscaling.alpha.kubernetes.io/behavior': /"stabilizationWindowSeconds":30/ } },
            spec: { targetCPUUtilizationPercentage: 60, behavior: absent },
          },
        },
      },
    ],
  },
];
