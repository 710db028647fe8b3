import { PassThrough } from 'node:stream';
import { PodVerb } from '@slipway/api';
import type { Client, RawResponse } from '@slipway/client';
import { memoryStoreFs, openStore } from '@slipway/store';
import { type FakeNodeConnector, fakeNodeConnector } from '@slipway/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';

const GROUP = '/apis/admissionregistration.k8s.io/v1';
const PODS = '/api/v1/namespaces/default/pods';

/** Making one takes longer than a test. */
let server: ApiServer;
let client: Client;
let nodes: FakeNodeConnector;

beforeEach(async () => {
  nodes = fakeNodeConnector();
  nodes.onOpen(PodVerb.exec, () => new PassThrough());
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    nodes,
  });
  client = server.client({ username: 'root', groups: ['system:masters'] });
});
afterEach(() => server.close());

const messageOf = async (answer: Promise<RawResponse>): Promise<unknown> => ((await answer).body as { message?: string }).message;
const post = (path: string, body: object): Promise<RawResponse> => client.raw({ method: 'POST', path, body });

/** Refuses, with what the policy sees of the request in the message. */
async function refuse(resource: string, operation: string, shown: string): Promise<void> {
  const rule = { apiGroups: ['*'], apiVersions: ['*'], operations: [operation], resources: [resource] };
  await post(`${GROUP}/validatingadmissionpolicies`, {
    metadata: { name: 'p' },
    spec: { matchConstraints: { resourceRules: [rule] }, validations: [{ expression: 'false', messageExpression: shown }] },
  });
  const binding = { metadata: { name: 'b' }, spec: { policyName: 'p', validationActions: ['Deny'] } };
  await post(`${GROUP}/validatingadmissionpolicybindings`, binding);
}

async function makePod(spec: object = {}): Promise<void> {
  await post(PODS, { metadata: { name: 'x' }, spec: { containers: [{ name: 'c', image: 'i' }], ...spec } });
}

const KIND = "request.kind.group + '/' + request.kind.version + ' ' + request.kind.kind + ' ' + request.subResource";

it('asks about evictions', async () => {
  await makePod();
  await refuse('pods/eviction', 'CREATE', `${KIND} + ' of ' + object.metadata.name`);
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'x' } };
  expect(await messageOf(post(`${PODS}/x/eviction`, body))).toContain('policy/v1 Eviction eviction of x');
  expect(server.registry.lookup('', 'pods', 'default', 'x')).toBeDefined();
});

it('asks about bindings', async () => {
  await makePod();
  await refuse('pods/binding', 'CREATE', `${KIND} + ' to ' + object.target.name`);
  const body = { metadata: { name: 'x' }, target: { kind: 'Node', name: 'n' } };
  expect(await messageOf(post(`${PODS}/x/binding`, body))).toContain('/v1 Binding binding to n');
});

it('asks about tokens', async () => {
  await post('/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'robot' } });
  await refuse('serviceaccounts/token', 'CREATE', `${KIND} + ' for ' + string(object.spec.expirationSeconds)`);
  const path = '/api/v1/namespaces/default/serviceaccounts/robot/token';
  const body = { spec: { audiences: [], expirationSeconds: 600 } };
  expect(await messageOf(post(path, body))).toContain('authentication.k8s.io/v1 TokenRequest token for 600');
});

it('asks about scales, old and new', async () => {
  const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  const path = '/apis/apps/v1/namespaces/default/deployments';
  await post(path, { metadata: { name: 'x' }, spec: { replicas: 1, selector: { matchLabels: { a: 'b' } }, template } });
  await refuse('deployments/scale', 'UPDATE', `${KIND} + string(oldObject.spec.replicas) + '-' + string(object.spec.replicas)`);
  const body = { metadata: { name: 'x' }, spec: { replicas: 3 } };
  expect(await messageOf(client.raw({ method: 'PUT', path: `${path}/x/scale`, body }))).toContain(
    'autoscaling/v1 Scale scale1-3',
  );
});

it('asks about ephemeral containers', async () => {
  await makePod();
  await refuse('pods/ephemeralcontainers', 'UPDATE', `${KIND} + object.spec.ephemeralContainers[0].name`);
  const { body } = await client.raw({ method: 'GET', path: `${PODS}/x` });
  const pod = body as { spec: object };
  const changed = { ...pod, spec: { ...pod.spec, ephemeralContainers: [{ name: 'debug', image: 'i' }] } };
  expect(await messageOf(client.raw({ method: 'PUT', path: `${PODS}/x/ephemeralcontainers`, body: changed }))).toContain(
    '/v1 Pod ephemeralcontainersdebug',
  );
});

it('asks about streams before a node is asked', async () => {
  await makePod({ nodeName: 'n' });
  await refuse(
    'pods/exec',
    'CONNECT',
    `${KIND} + ' ' + object.container + ' ' + object.command.join(' ') + string(object.stdout)`,
  );
  const query = { command: 'ls', stdout: 'true' };
  const connect = client.connect({ path: `${PODS}/x/exec`, query, protocols: ['v4.channel.k8s.io'] });
  await expect(connect).rejects.toThrow('/v1 PodExecOptions exec c lstrue');
  expect(nodes.calls).toEqual([]);
});
