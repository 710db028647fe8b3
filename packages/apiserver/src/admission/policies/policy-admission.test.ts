import type { Status } from '@slipway/apimachinery';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ApiServer, createApiServer } from '../../api-server.ts';
import { builtinResources } from '../../builtin/index.ts';
import type { AuditEvent } from '../../pipeline/server-context.ts';

const GROUP = '/apis/admissionregistration.k8s.io/v1';
const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';

/** Making one takes longer than a test. */
let server: ApiServer;
let audit: AuditEvent[];

beforeEach(async () => {
  audit = [];
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    audit: (event) => audit.push(event),
  });
});
afterEach(() => server.close());

interface Outcome {
  readonly status: number;
  readonly body: Status & Record<string, unknown>;
  readonly warnings: readonly string[];
}

async function send(method: string, path: string, body?: object, username = 'root'): Promise<Outcome> {
  const { status, value, warnings } = await server.handle({
    method,
    path,
    headers: { 'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' },
    query: new URLSearchParams(),
    remoteAddress: '127.0.0.1',
    signal: new AbortController().signal,
    body: body === undefined ? { type: 'none' } : { type: 'bytes', bytes: Buffer.from(JSON.stringify(body)) },
    identity: { type: 'user', user: { username, groups: ['system:masters', 'system:authenticated'] } },
  });
  return { status, body: value as Outcome['body'], warnings };
}

const CONFIG_MAP_RULE = { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['configmaps'] };

async function apply(spec: object, binding: object = {}): Promise<void> {
  const policy = { metadata: { name: 'p' }, spec: { matchConstraints: { resourceRules: [CONFIG_MAP_RULE] }, ...spec } };
  const bound = { metadata: { name: 'b' }, spec: { policyName: 'p', validationActions: ['Deny'], ...binding } };
  expect(await send('POST', `${GROUP}/validatingadmissionpolicies`, policy)).toMatchObject({ status: 201 });
  expect(await send('POST', `${GROUP}/validatingadmissionpolicybindings`, bound)).toMatchObject({ status: 201 });
}

const configMap = (data: object = {}, metadata: object = {}): object => ({ metadata: { name: 'x', ...metadata }, data });
const create = (data: object = {}, metadata: object = {}): Promise<Outcome> =>
  send('POST', CONFIG_MAPS, configMap(data, metadata));
const messageOf = async (outcome: Promise<Outcome>): Promise<string> => (await outcome).body.message ?? '';

describe('ValidatingAdmissionPolicy', () => {
  it('refuses what does not hold, in the words of the API server', async () => {
    await apply({ validations: [{ expression: "has(object.data) && 'a' in object.data" }] });
    const { status, body } = await create();
    const text =
      "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: has(object.data) && 'a' in object.data";
    expect(status).toBe(422);
    expect(body).toMatchObject({
      reason: 'Invalid',
      message: `configmaps "x" is forbidden: ${text}`,
      details: { name: 'x', kind: 'configmaps', causes: [{ message: text }] },
    });
    expect(await create({ a: '1' })).toMatchObject({ status: 201 });
    expect(await send('PATCH', `${CONFIG_MAPS}/x`, { data: null })).toMatchObject({ status: 422 });
    expect(await send('DELETE', `${CONFIG_MAPS}/x`)).toMatchObject({ status: 200 });
  });

  it('does nothing unless bound, nor after the binding is gone', async () => {
    await apply({ validations: [{ expression: 'false' }] });
    expect(await create()).toMatchObject({ status: 422 });
    await send('DELETE', `${GROUP}/validatingadmissionpolicybindings/b`);
    expect(await create()).toMatchObject({ status: 201 });
  });

  it.each([
    ['Forbidden', 403],
    ['Unauthorized', 401],
    ['RequestEntityTooLarge', 413],
    ['Invalid', 422],
  ])('answers reason %s with %i', async (reason, code) => {
    await apply({ validations: [{ expression: 'false', message: ' never ', reason }] });
    const { status, body } = await create();
    expect(status).toBe(code);
    expect(body).toMatchObject({ reason, code });
    expect(body.message).toMatch(/denied request: never$/);
  });

  it('makes messages by expression, and falls back', async () => {
    await apply({
      validations: [
        { expression: "object.data.kind != 'a'", message: 'plain', messageExpression: "'no ' + object.data.kind + ' here'" },
        { expression: "object.data.kind != 'b'", message: 'plain', messageExpression: 'object.data.missing' },
        { expression: "object.data.kind != 'c'", message: 'plain', messageExpression: "'two' + '\\n' + 'lines'" },
      ],
    });
    expect(await messageOf(create({ kind: 'a' }))).toMatch(/: no a here$/);
    expect(await messageOf(create({ kind: 'b' }))).toMatch(/: plain$/);
    expect(await messageOf(create({ kind: 'c' }))).toMatch(/: plain$/);
  });

  it('warns and audits instead of refusing', async () => {
    await apply(
      {
        validations: [{ expression: 'false', message: 'odd' }],
        auditAnnotations: [
          { key: 'size', valueExpression: 'string(size(object.data))' },
          { key: 'none', valueExpression: 'null' },
        ],
      },
      { validationActions: ['Warn', 'Audit'] },
    );
    const { status, warnings } = await create({ a: '1' });
    expect(status).toBe(201);
    expect(warnings).toEqual(["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': odd"]);
    const { annotations } = audit.at(-1) ?? {};
    expect(annotations).toMatchObject({ 'p/size': '1' });
    expect(annotations).not.toHaveProperty('p/none');
    expect(JSON.parse(annotations?.['validation.policy.admission.k8s.io/validation_failure'] ?? '')).toEqual([
      { message: 'odd', policy: 'p', binding: 'b', expressionIndex: 0, validationActions: ['Warn', 'Audit'] },
    ]);
  });

  it('takes failures as its policy says', async () => {
    await apply({ validations: [{ expression: 'object.data.a == object.data.b' }] });
    expect(await messageOf(create({ a: '1' }))).toMatch(
      /denied request: expression 'object.data.a == object.data.b' resulted in error: no such key: b$/,
    );
    await send('PATCH', `${GROUP}/validatingadmissionpolicies/p`, { spec: { failurePolicy: 'Ignore' } });
    expect(await create({ a: '1' })).toMatchObject({ status: 201 });
  });

  it('evaluates variables when they are used, each once, the later from the earlier', async () => {
    await apply({
      variables: [
        { name: 'broken', expression: 'object.data.missing' },
        { name: 'count', expression: 'size(object.data)' },
        { name: 'doubled', expression: 'variables.count * 2' },
      ],
      validations: [
        { expression: "variables.doubled == 4 || object.data.a == 'free'" },
        { expression: "object.data.a != 'broken' || variables.broken == 1" },
      ],
    });
    expect(await create({ a: '1', b: '2' })).toMatchObject({ status: 201 });
    expect(await messageOf(create({ a: '1' }))).toMatch(/failed expression: variables.doubled == 4/);
    expect(await messageOf(create({ a: 'broken', b: '' }))).toMatch(
      /resulted in error: composited variable "broken" fails to evaluate: no such key: missing$/,
    );
  });

  it('has the request, the namespace, the old object and the authorizer', async () => {
    await apply({
      validations: [
        { expression: "request.userInfo.username != 'eve'" },
        { expression: "request.operation == 'CREATE' ? oldObject == null : oldObject.metadata.name == object.metadata.name" },
        { expression: "namespaceObject.metadata.name == 'default' && request.namespace == 'default'" },
        { expression: "request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap' && !request.dryRun" },
        { expression: "authorizer.group('apps').resource('deployments').namespace('x').check('create').allowed()" },
        { expression: "authorizer.path('/healthz').check('get').allowed()" },
        { expression: "authorizer.requestResource.check('update').allowed()" },
        { expression: "!authorizer.serviceAccount('default', 'weak').requestResource.check('update').allowed()" },
        {
          expression:
            "authorizer.requestResource.check('update').reason() == '' && !authorizer.path('/x').check('get').errored()",
        },
      ],
    });
    expect((await create()).body.message).toBeUndefined();
    expect(await send('PATCH', `${CONFIG_MAPS}/x`, { data: { a: '1' } })).toMatchObject({ status: 200 });
    expect(await send('POST', CONFIG_MAPS, { metadata: { name: 'y' } }, 'eve')).toMatchObject({ status: 422 });
  });

  it('matches by conditions; one that is false decides', async () => {
    await apply({
      matchConditions: [
        { name: 'labelled', expression: 'has(object.metadata.labels)' },
        { name: 'strict', expression: "object.metadata.labels.mode == 'strict'" },
      ],
      validations: [{ expression: 'false' }],
    });
    expect(await create()).toMatchObject({ status: 201 });
    expect(await create({}, { name: 'y', labels: { mode: 'lax' } })).toMatchObject({ status: 201 });
    expect(await create({}, { name: 'z', labels: { mode: 'strict' } })).toMatchObject({ status: 422 });
    expect(await messageOf(create({}, { name: 'w', labels: { other: 'x' } }))).toMatch(
      /expression 'object.metadata.labels.mode == 'strict'' resulted in error: no such key: mode$/,
    );
  });

  it('matches by rules, exclusions, names and selectors, of the policy and of the binding', async () => {
    const deployments = { apiGroups: ['apps'], apiVersions: ['*'], operations: ['*'], resources: ['deployments'] };
    await apply(
      {
        matchConstraints: {
          resourceRules: [CONFIG_MAP_RULE, deployments],
          excludeResourceRules: [{ ...CONFIG_MAP_RULE, resourceNames: ['exempt'] }],
          objectSelector: { matchExpressions: [{ key: 'skip', operator: 'DoesNotExist' }] },
        },
        validations: [{ expression: 'false' }],
      },
      { matchResources: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'default' } } } },
    );
    expect(await create()).toMatchObject({ status: 422 });
    expect(await create({}, { name: 'exempt' })).toMatchObject({ status: 201 });
    expect(await create({}, { name: 'y', labels: { skip: '' } })).toMatchObject({ status: 201 });
    const elsewhere = '/api/v1/namespaces/kube-system/configmaps';
    expect(await send('POST', elsewhere, { metadata: { name: 'x' } })).toMatchObject({ status: 201 });
    expect(await send('POST', '/api/v1/namespaces/default/secrets', { metadata: { name: 'x' } })).toMatchObject({ status: 201 });
    const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const body = { metadata: { name: 'x' }, spec: { selector: { matchLabels: { a: 'b' } }, template } };
    expect(await send('POST', DEPLOYMENTS, body)).toMatchObject({ status: 422 });
  });

  it('takes an equal resource of another version for the one it names, unless told not to', async () => {
    const rule = {
      apiGroups: ['autoscaling'],
      apiVersions: ['v1'],
      operations: ['CREATE'],
      resources: ['horizontalpodautoscalers'],
    };
    const hpa = {
      metadata: { name: 'x' },
      spec: { maxReplicas: 2, scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'x' } },
    };
    const path = '/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers';
    await apply({
      matchConstraints: { resourceRules: [rule] },
      validations: [{ expression: "request.kind.version == 'v2'", messageExpression: "'asked in ' + request.kind.version" }],
    });
    expect(await messageOf(send('POST', path, hpa))).toMatch(/: asked in v1$/);
    await send('PATCH', `${GROUP}/validatingadmissionpolicies/p`, { spec: { matchConstraints: { matchPolicy: 'Exact' } } });
    expect(await send('POST', path, hpa)).toMatchObject({ status: 201 });
  });

  describe('with parameters', () => {
    const spec = {
      paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
      matchConstraints: { resourceRules: [{ ...CONFIG_MAP_RULE, resources: ['secrets'] }] },
      validations: [
        {
          expression: 'params == null || size(object.metadata.name) <= int(params.data.max)',
          messageExpression: "'max ' + params.data.max",
        },
      ],
    };
    const secret = (name: string): Promise<Outcome> => send('POST', '/api/v1/namespaces/default/secrets', { metadata: { name } });

    it('by name, which may be missing', async () => {
      await apply(spec, { paramRef: { name: 'limits', parameterNotFoundAction: 'Deny' } });
      expect(await messageOf(secret('abc'))).toMatch(
        /binding 'b' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction$/,
      );
      await create({ max: '3' }, { name: 'limits' });
      expect(await secret('abc')).toMatchObject({ status: 201 });
      expect(await messageOf(secret('abcd'))).toMatch(/: max 3$/);
    });

    it('by selector, each of which must agree', async () => {
      await apply(spec, {
        paramRef: { selector: { matchLabels: { role: 'limit' } }, parameterNotFoundAction: 'Allow', namespace: 'kube-system' },
      });
      expect(await secret('abcdefgh')).toMatchObject({ status: 201 });
      const labels = { role: 'limit' };
      for (const max of ['3', '5']) {
        const body = { metadata: { name: `l${max}`, labels }, data: { max } };
        expect(await send('POST', '/api/v1/namespaces/kube-system/configmaps', body)).toMatchObject({ status: 201 });
      }
      expect(await secret('abc')).toMatchObject({ status: 201 });
      expect(await messageOf(secret('abcd'))).toMatch(/: max 3$/);
    });

    it('of a kind that does not exist, or in a place that makes no sense', async () => {
      await apply(
        { ...spec, paramKind: { apiVersion: 'example.com/v1', kind: 'Limit' } },
        {
          paramRef: { name: 'x', parameterNotFoundAction: 'Allow' },
        },
      );
      expect(await messageOf(secret('a'))).toMatch(
        /failed to find resource referenced by paramKind: 'example.com\/v1, Kind=Limit'$/,
      );
      await send('PATCH', `${GROUP}/validatingadmissionpolicies/p`, { spec: { paramKind: { apiVersion: 'v1', kind: 'Node' } } });
      await send('PATCH', `${GROUP}/validatingadmissionpolicybindings/b`, { spec: { paramRef: { namespace: 'default' } } });
      expect(await messageOf(secret('a'))).toMatch(/paramRef.namespace must not be provided for a cluster-scoped `paramKind`$/);
      await send('PATCH', `${GROUP}/validatingadmissionpolicybindings/b`, { spec: { paramRef: null } });
      expect(await secret('a')).toMatchObject({ status: 201 });
    });
  });

  it('never judges policies and bindings themselves', async () => {
    const everything = { apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*'] };
    await apply({ matchConstraints: { resourceRules: [everything] }, validations: [{ expression: 'false' }] });
    expect(await create()).toMatchObject({ status: 422 });
    expect(await send('DELETE', `${GROUP}/validatingadmissionpolicybindings/b`)).toMatchObject({ status: 200 });
    expect(await send('DELETE', `${GROUP}/validatingadmissionpolicies/p`)).toMatchObject({ status: 200 });
  });

  it('is stopped when it costs too much', async () => {
    const loops = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `object.metadata.annotations.all(${name}, `);
    await apply({ validations: [{ expression: `${loops.join('')}true${')'.repeat(loops.length)}` }] });
    const annotations = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`k${index}`, 'v']));
    expect(await messageOf(create({}, { annotations }))).toMatch(
      /resulted in error: operation cancelled: actual cost limit exceeded$/,
    );
  });
});

describe('validation of policies and bindings', () => {
  const policy = (spec: object): object => ({
    metadata: { name: 'p' },
    spec: { matchConstraints: { resourceRules: [CONFIG_MAP_RULE] }, validations: [{ expression: 'true' }], ...spec },
  });
  const POLICY_CASES: readonly (readonly [object, string])[] = [
    [
      { validations: [{ expression: 'object.' }] },
      'spec.validations[0].expression: Invalid value: "object.": compilation failed: ERROR: <input>:1:',
    ],
    [{ validations: [{ expression: 'objct == 1' }] }, "undeclared reference to 'objct' (in container '')"],
    [{ validations: [{ expression: 'params == 1' }] }, "undeclared reference to 'params'"],
    [{ validations: [{ expression: 'variables.x == 1' }] }, "undefined field 'x'"],
    [{ validations: [{ expression: '1 + 1' }] }, 'must evaluate to bool'],
    [{ validations: [{ expression: ' ' }] }, 'spec.validations[0].expression: Required value: expression is not specified'],
    [{ validations: [{ expression: 'true', message: 'a\nb' }] }, 'message must not contain line breaks'],
    [{ validations: [{ expression: 'true\n&& true' }] }, 'message must be specified if expression contains line breaks'],
    [{ validations: [{ expression: 'true', messageExpression: '1' }] }, 'must evaluate to string'],
    [
      { validations: [{ expression: 'true', reason: 'Odd' }] },
      'Unsupported value: "Odd": supported values: "Forbidden", "Invalid"',
    ],
    [{ validations: [] }, 'spec.validations: Required value: validations or auditAnnotations must be non-empty'],
    [{ matchConstraints: null }, 'spec.matchConstraints: Required value'],
    [{ matchConstraints: { resourceRules: [] } }, 'spec.matchConstraints.resourceRules: Required value'],
    [
      { matchConstraints: { resourceRules: [{ ...CONFIG_MAP_RULE, operations: ['READ'] }] } },
      'operations[0]: Unsupported value: "READ"',
    ],
    [{ matchConditions: [{ name: 'a b', expression: 'variables.x' }] }, "undeclared reference to 'variables'"],
    [
      {
        variables: [
          { name: 'a', expression: 'variables.b' },
          { name: 'b', expression: '1' },
        ],
      },
      "undefined field 'b'",
    ],
    [{ variables: [{ name: 'a-b', expression: '1' }] }, 'name is not a valid CEL identifier'],
    [{ auditAnnotations: [{ key: 'a', valueExpression: '1' }] }, 'spec.auditAnnotations[0].valueExpression: Invalid value'],
    [{ paramKind: { kind: 'X' } }, 'spec.paramKind.apiVersion: Required value'],
    [{ failurePolicy: 'Odd' }, 'spec.failurePolicy: Unsupported value: "Odd"'],
  ];
  it.each(POLICY_CASES)('refuses policy %j', async (spec, text) => {
    const { status, body } = await send('POST', `${GROUP}/validatingadmissionpolicies`, policy(spec));
    expect(status).toBe(422);
    expect(body.message).toContain(text);
    expect(body.details?.causes?.length).toBeGreaterThan(0);
  });

  const BINDING_CASES: readonly (readonly [object, string])[] = [
    [{ policyName: '' }, 'spec.policyName: Required value'],
    [{ validationActions: [] }, 'spec.validationActions: Required value: at least one validation action is required'],
    [{ validationActions: ['Deny', 'Warn'] }, 'must not contain both Deny and Warn'],
    [
      { validationActions: ['Odd'] },
      'spec.validationActions[0]: Unsupported value: "Odd": supported values: "Audit", "Deny", "Warn"',
    ],
    [{ paramRef: { name: 'x', selector: {}, parameterNotFoundAction: 'Allow' } }, 'name and selector are mutually exclusive'],
    [{ paramRef: { parameterNotFoundAction: 'Allow' } }, 'one of name or selector must be specified'],
    [{ paramRef: { name: 'x' } }, 'spec.paramRef.parameterNotFoundAction: Required value'],
  ];
  it.each(BINDING_CASES)('refuses binding %j', async (spec, text) => {
    const body = { metadata: { name: 'b' }, spec: { policyName: 'p', validationActions: ['Deny'], ...spec } };
    const outcome = await send('POST', `${GROUP}/validatingadmissionpolicybindings`, body);
    expect(outcome.status).toBe(422);
    expect(outcome.body.message).toContain(text);
  });

  it('says in the status what is wrong with types', async () => {
    const rule = { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['*'], resources: ['deployments', 'daemonsets'] };
    const validations = [
      { expression: 'object.spec.replicas > 1', messageExpression: "'of ' + object.metadata.nme" },
      { expression: "object.metadata.name != '' && object.spec.template.spec.containers.all(c, c.name != '')" },
    ];
    await send(
      'POST',
      `${GROUP}/validatingadmissionpolicies`,
      policy({ matchConstraints: { resourceRules: [rule] }, validations }),
    );
    const checked = async (): Promise<boolean> => {
      const { body } = await send('GET', `${GROUP}/validatingadmissionpolicies/p`);
      return (
        body['status'] !== undefined && (body['status'] as unknown as { observedGeneration?: number }).observedGeneration === 1
      );
    };
    await vi.waitUntil(checked, { timeout: 60_000 });
    const { body } = await send('GET', `${GROUP}/validatingadmissionpolicies/p`);
    const { typeChecking } = body['status'] as unknown as { typeChecking: { expressionWarnings: Record<string, string>[] } };
    expect(typeChecking.expressionWarnings.map(({ fieldRef }) => fieldRef)).toEqual([
      'spec.validations[0].expression',
      'spec.validations[0].messageExpression',
    ]);
    expect(typeChecking.expressionWarnings[0]?.['warning']).toMatch(
      /^apps\/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'replicas'\n/,
    );
    expect(typeChecking.expressionWarnings[1]?.['warning']).toContain(
      "Kind=Deployment: ERROR: <input>:1:24: undefined field 'nme'",
    );
  });

  it('fills defaults', async () => {
    expect(await send('POST', `${GROUP}/validatingadmissionpolicies`, policy({}))).toMatchObject({ status: 201 });
    const { body } = await send('GET', `${GROUP}/validatingadmissionpolicies/p`);
    expect(body).toMatchObject({
      apiVersion: 'admissionregistration.k8s.io/v1',
      metadata: { generation: 1 },
      spec: {
        failurePolicy: 'Fail',
        matchConstraints: {
          matchPolicy: 'Equivalent',
          namespaceSelector: {},
          objectSelector: {},
          resourceRules: [{ scope: '*' }],
        },
      },
    });
  });
});
