// Requests of any kind: none may end the server, keep it busy, or be answered with 500.
import { bundledCustomResourceDefinitions } from '@slipway/api';
import { type ApiRequest, type ApiServer, builtinResources, createApiServer } from '@slipway/apiserver';
import { memoryStoreFs, openStore } from '@slipway/store';
import { type Random, fuzz, mutateBytes, mutateJson, randomJson, randomText } from '@slipway/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ADMIN } from '../src/cluster.ts';

const failures: string[] = [];
/** How often a status was answered: inputs that are all refused alike would test nothing. */
const answers = new Map<number, number>();
let server: ApiServer;

beforeAll(async () => {
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
    logError: (error, what) => failures.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`),
  });
  for (const body of Object.values(OBJECTS)) {
    const [path = ''] = Object.entries(OBJECTS).find(([, value]) => value === body) ?? [];
    await send({
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(body)),
    });
  }
});
afterAll(() => server.close());

function expectVariety(): void {
  for (const status of [200, 400, 422]) expect(answers.get(status) ?? 0, JSON.stringify([...answers])).toBeGreaterThan(0);
  answers.clear();
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

const NEVER = new AbortController().signal;

async function send({ method, path, query = '', headers = {}, body }: Request): Promise<number> {
  failures.length = 0;
  const request: ApiRequest = {
    ...{ method, path, headers, query: new URLSearchParams(query), remoteAddress: '127.0.0.1', signal: NEVER },
    body: body === undefined ? { type: 'none' } : { type: 'bytes', bytes: body },
    identity: { type: 'user', user: ADMIN },
  };
  const { status, value } = await server.handle(request);
  if (failures.length > 0) throw new Error(failures.join('\n'));
  answers.set(status, (answers.get(status) ?? 0) + 1);
  if (status === 500) throw new Error(`500: ${JSON.stringify(value)}`);
  return status;
}

const show = ({ body, ...request }: Request): string => `${JSON.stringify(request)}\n${body?.toString('latin1') ?? ''}`;

const POD_TEMPLATE = { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'main', image: 'any' }] } };
const OBJECTS: Readonly<Record<string, object>> = {
  '/api/v1/namespaces/default/configmaps': { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' }, data: { a: 'b' } },
  '/api/v1/namespaces/default/secrets': { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' }, data: { a: 'Yg==' } },
  '/api/v1/namespaces/default/services': {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'x' } },
    spec: { selector: { a: 'b' }, ports: [{ name: 'http', port: 80, targetPort: 'web' }] },
  },
  '/api/v1/namespaces/default/persistentvolumeclaims': {
    ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'x' } },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  },
  '/api/v1/namespaces/default/pods': {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'x' } },
    spec: { ...POD_TEMPLATE.spec, tolerations: [{ key: 'a', operator: 'Exists' }], volumes: [{ name: 'v', emptyDir: {} }] },
  },
  '/api/v1/nodes': {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'x' },
    spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] },
  },
  '/apis/apps/v1/namespaces/default/deployments': {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'x' } },
    spec: { replicas: 1, selector: { matchLabels: { app: 'a' } }, template: POD_TEMPLATE },
  },
  '/apis/apps/v1/namespaces/default/statefulsets': {
    ...{ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'x' } },
    spec: { serviceName: 'x', selector: { matchLabels: { app: 'a' } }, template: POD_TEMPLATE, volumeClaimTemplates: [] },
  },
  '/apis/batch/v1/namespaces/default/cronjobs': {
    ...{ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'x' } },
    spec: {
      schedule: '* * * * *',
      jobTemplate: { spec: { template: { spec: { ...POD_TEMPLATE.spec, restartPolicy: 'Never' } } } },
    },
  },
  '/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles': {
    ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'x' } },
    rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'], resourceNames: ['a'] }],
  },
  '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings': {
    ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name: 'x' } },
    ...{ roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'x' } },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'jane' }],
  },
  '/apis/policy/v1/namespaces/default/poddisruptionbudgets': {
    ...{ apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: 'x' } },
    spec: { minAvailable: '50%', selector: { matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] } },
  },
  '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies': {
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name: 'x' } },
    spec: {
      podSelector: {},
      ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }], ports: [{ port: 80 }] }],
    },
  },
  '/apis/kubevirt.io/v1/namespaces/default/virtualmachines': {
    ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'x' } },
    spec: {
      runStrategy: 'Halted',
      template: { spec: { domain: { memory: { guest: '1Gi' }, devices: { disks: [{ name: 'd', disk: {} }] } } } },
    },
  },
  '/apis/apiextensions.k8s.io/v1/customresourcedefinitions': {
    ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', metadata: { name: 'things.example.com' } },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'things', singular: 'thing', kind: 'Thing', shortNames: ['th'] },
      versions: [
        {
          ...{
            name: 'v1',
            served: true,
            storage: true,
            subresources: { status: {}, scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' } },
          },
          additionalPrinterColumns: [{ name: 'A', type: 'string', jsonPath: '.spec.a' }],
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                spec: {
                  type: 'object',
                  properties: {
                    a: { type: 'string', pattern: '^[a-z]*$', default: 'x' },
                    list: {
                      ...{ type: 'array', maxItems: 5, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] },
                      items: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } },
                    },
                    replicas: { type: 'integer', minimum: 0 },
                  },
                  'x-kubernetes-validations': [{ rule: "self.a != 'bad'", message: 'no' }],
                },
                status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
              },
            },
          },
        },
      ],
    },
  },
  '/api/v1/namespaces/default/serviceaccounts/default/token': {
    ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
    spec: { audiences: ['a'], expirationSeconds: 600 },
  },
  '/apis/authorization.k8s.io/v1/subjectaccessreviews': {
    ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview' },
    spec: { user: 'jane', groups: ['a'], resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' } },
  },
  '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies': {
    ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicy', metadata: { name: 'x' } },
    spec: {
      matchConstraints: {
        resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['*'], resources: ['configmaps', 'pods'] }],
      },
      matchConditions: [{ name: 'a', expression: 'has(object.metadata)' }],
      variables: [{ name: 'v', expression: 'object.metadata.name' }],
      validations: [
        { expression: "variables.v != 'z' && size(object.metadata.name) < 9", messageExpression: "'no ' + variables.v" },
      ],
      auditAnnotations: [{ key: 'k', valueExpression: 'string(variables.v)' }],
      paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
    },
  },
  '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings': {
    ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicyBinding', metadata: { name: 'x' } },
    spec: { policyName: 'x', validationActions: ['Warn', 'Audit'], paramRef: { name: 'x', parameterNotFoundAction: 'Allow' } },
  },
  '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations': {
    ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingWebhookConfiguration', metadata: { name: 'x' } },
    webhooks: [],
  },
};

const WORDS = [
  'metadata',
  'name',
  'namespace',
  'spec',
  'status',
  'labels',
  'annotations',
  'finalizers',
  'ownerReferences',
  'uid',
];
const MORE = [
  'x',
  'a',
  'kind',
  'apiVersion',
  'v1',
  'Pod',
  'items',
  'managedFields',
  'resourceVersion',
  'generateName',
  '1Gi',
  'containers',
];
const ALL_WORDS = [
  ...WORDS,
  ...MORE,
  'creationTimestamp',
  'deletionTimestamp',
  '2026-01-01T00:00:00Z',
  '$patch',
  'delete',
  'selector',
];
const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];
const ACCEPTS = [
  'application/json',
  'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
  'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
  'application/yaml',
  'application/vnd.kubernetes.protobuf,application/json',
  'text/html, */*;q=0.1',
  ';;;=,',
];
const PATHS = Object.keys(OBJECTS);
const QUERIES = [
  'dryRun=All',
  'fieldManager=f',
  'fieldValidation=Strict',
  'fieldValidation=odd',
  'limit=1',
  'limit=-1',
  'continue=x',
];
const MORE_QUERIES = [
  'resourceVersion=0',
  'resourceVersion=x',
  'resourceVersion=1',
  'resourceVersionMatch=Exact',
  'watch=1',
  'pretty=1',
];
const SELECTORS = [
  'labelSelector=a%20in%20(',
  'fieldSelector=metadata.name%3Dx',
  'fieldSelector=a%3D%3D%3D',
  'timeoutSeconds=1',
  'force=true',
];
const ALL_QUERIES = [
  ...QUERIES,
  ...MORE_QUERIES,
  ...SELECTORS,
  'propagationPolicy=Odd',
  'gracePeriodSeconds=-1',
  'orphanDependents=x',
  '%',
  '=',
];

const jsonBody = (random: Random, value: unknown): Buffer => {
  const text = Buffer.from(JSON.stringify(value) ?? '');
  return random.chance(0.85) ? text : mutateBytes(random, text);
};
const queryOf = (random: Random): string => Array.from({ length: random.below(4) }, () => random.pick(ALL_QUERIES)).join('&');

it('objects of every kind, bent out of shape', async () => {
  await fuzz<Request>({
    name: 'bodies',
    inputs: 3000,
    show,
    make(random) {
      const path = random.pick(PATHS);
      let value: unknown = OBJECTS[path];
      for (let round = random.below(3); round >= 0; round--) value = mutateJson(random, value, ALL_WORDS);
      const isPut = random.chance(0.3);
      const method = isPut ? 'PUT' : 'POST';
      const headers = {
        'content-type': random.chance(0.9) ? 'application/json' : 'application/yaml',
        accept: random.pick(ACCEPTS),
      };
      const query = random.chance(0.8) ? `dryRun=All&${queryOf(random)}` : 'dryRun=All';
      return { method, path: isPut ? `${path}/x` : path, query, headers, body: jsonBody(random, value) };
    },
    run: send,
  });
});

it('patches of every type on every kind', async () => {
  const pointers = [
    '/metadata',
    '/labels',
    '/spec',
    '/0',
    '/-',
    '/name',
    '/data',
    '/a',
    '',
    '/finalizers',
    '/ownerReferences',
    '~',
  ];
  await fuzz<Request>({
    name: 'patches',
    inputs: 3000,
    show,
    make(random) {
      const path = random.pick(PATHS);
      const type = random.pick(PATCH_TYPES);
      const operation = () => ({
        op: random.pick(['add', 'remove', 'replace', 'test', 'copy', 'move']),
        path: randomText(random, pointers, 4),
        from: randomText(random, pointers, 3),
        value: randomJson(random, ALL_WORDS, 2),
      });
      const patch = type.includes('json-patch')
        ? Array.from({ length: 1 + random.below(3) }, operation)
        : mutateJson(random, mutateJson(random, OBJECTS[path], ALL_WORDS), ALL_WORDS);
      const suffix = random.pick(['', '', '', '/status', '/scale']);
      const name = path.includes('customresource') ? 'things.example.com' : 'x';
      const query = `dryRun=All&fieldManager=fuzz&${random.chance(0.3) ? 'force=true&' : ''}${queryOf(random)}`;
      const headers = { 'content-type': type, accept: random.pick(ACCEPTS) };
      return { method: 'PATCH', path: `${path}/${name}${suffix}`, query, headers, body: jsonBody(random, patch) };
    },
    run: send,
  });
  if (process.env['SLIPWAY_FUZZ_INPUTS'] === undefined) expectVariety();
});

it('methods, paths and queries of any kind', async () => {
  const segments = [
    'api',
    'apis',
    'v1',
    'apps',
    'namespaces',
    'default',
    'pods',
    'x',
    'status',
    'watch',
    'log',
    'exec',
    'nodes',
    'openapi',
  ];
  const more = [
    'v2',
    'v3',
    'healthz',
    'version',
    '%2f',
    '%00',
    '..',
    '',
    'kubevirt.io',
    'virtualmachines',
    'deployments',
    'scale',
    'binding',
  ];
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'BREW'];
  const keys = [
    'accept',
    'content-type',
    'if-none-match',
    'impersonate-user',
    'impersonate-group',
    'user-agent',
    'content-encoding',
  ];
  await fuzz<Request>({
    name: 'requests',
    inputs: 3000,
    show,
    make(random) {
      const known = random.chance(0.5) ? `${random.pick(PATHS)}${random.pick(['', '/x', '/x/status', '/x/log', '/x/exec'])}` : '';
      const path = known || `/${Array.from({ length: random.below(8) }, () => random.pick([...segments, ...more])).join('/')}`;
      const headers = Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [random.pick(keys), random.pick([...ACCEPTS, ...ALL_WORDS, '', ','])]),
      );
      // deletes are played, or soon nothing would be left
      const query = `dryRun=All&${queryOf(random)}`;
      const body = random.chance(0.4) ? { body: jsonBody(random, randomJson(random, ALL_WORDS)) } : {};
      return { method: random.pick(methods), path, query, headers, ...body };
    },
    run: send,
  });
});

it('selectors in lists', async () => {
  const pieces = [
    'a',
    '=',
    '==',
    '!=',
    ' in ',
    ' notin ',
    '(',
    ')',
    ',',
    '!',
    '>',
    '1',
    'metadata.name',
    'status.phase',
    'x/y',
    ' ',
    '\\',
  ];
  await fuzz<Request>({
    name: 'list selectors',
    inputs: 1500,
    show,
    make(random) {
      const selector = encodeURIComponent(Buffer.from(randomText(random, pieces, 10)).toString());
      const query = `${random.pick(['labelSelector', 'fieldSelector'])}=${selector}&limit=${random.pick(['', '1', '500', 'x'])}`;
      return { method: 'GET', path: random.pick(PATHS), query, headers: { accept: random.pick(ACCEPTS.slice(0, 3)) } };
    },
    run: send,
  });
});

/** `Unknown` of Kubernetes around a ConfigMap with a name and one entry. */
function protobufSample(): Buffer {
  const field = (number: number, body: Buffer | string): Buffer =>
    Buffer.concat([Buffer.from([number * 8 + 2, Buffer.byteLength(body)]), Buffer.from(body)]);
  const meta = field(1, field(1, 'made'));
  const entry = field(2, Buffer.concat([field(1, 'key'), field(2, 'value')]));
  const type = field(1, Buffer.concat([field(1, 'v1'), field(2, 'ConfigMap')]));
  return Buffer.concat([Buffer.from([0x6b, 0x38, 0x73, 0]), type, field(2, Buffer.concat([meta, entry]))]);
}

it('protobuf bodies', async () => {
  const sample = protobufSample();
  const headers = { 'content-type': 'application/vnd.kubernetes.protobuf' };
  const path = '/api/v1/namespaces/default/configmaps';
  expect(await send({ method: 'POST', path, query: 'dryRun=All', headers, body: sample })).toBe(201);
  await fuzz<Request>({
    name: 'protobuf',
    inputs: 3000,
    show: ({ body }) => body?.toString('hex') ?? '',
    make: (random) => ({
      method: 'POST',
      path: random.pick(PATHS),
      query: 'dryRun=All',
      headers,
      body: mutateBytes(random, sample),
    }),
    run: send,
  });
});
