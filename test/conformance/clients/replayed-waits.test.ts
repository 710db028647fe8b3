// How Helm and Terraform wait: for a rollout, a hook, a namespace to go, a token to come. The controllers are the product's.
import { type Job, JobKind } from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import { createHttpClient } from '@slipway/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../src/cluster.ts';
import { type RunningControllers, startControllers } from '../src/controllers.ts';
import {
  DEPLOYMENTS,
  JOBS,
  type Json,
  MERGE,
  NAMESPACE,
  type Requester,
  VMS,
  deployment,
  itemsOf,
  metadataOf,
  requesterOf,
  vm,
} from '../src/requests.ts';

const LIMIT_MS = 90_000;

let cluster: Cluster;
let controllers: RunningControllers;
let requester: Requester;
const send: Requester['send'] = (...request) => requester.send(...request);

beforeAll(async () => {
  cluster = await startCluster();
  requester = requesterOf(cluster);
  controllers = startControllers(cluster, [
    ...['namespace-controller', 'service-account-controller', 'service-account-token-controller'],
    ...['replicaset-controller', 'deployment-controller', 'job-controller'],
  ]);
  // pods need the account that each namespace has
  await poll(`${NAMESPACE}/serviceaccounts/default`, ({ kind }) => kind === 'ServiceAccount');
}, LIMIT_MS);
afterAll(async () => {
  await controllers.stop();
  await requester.close();
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

/** Asks until the answer is what is waited for; between two questions the controllers do what there is to do. */
async function poll(path: string, isDone: (answer: Json) => boolean): Promise<Json> {
  const signal = AbortSignal.timeout(60_000);
  for (;;) {
    const answer = await send('GET', path, [200, 404]);
    if (isDone(answer)) return answer;
    signal.throwIfAborted();
    await controllers.settle();
  }
}

const statusOf = (object: Json): Json => (object['status'] as Json | undefined) ?? {};
const isGone = ({ kind, code }: Json): boolean => kind === 'Status' && code === 404;
const podsOf = (labelSelector: string): Promise<Json> => send('GET', `${NAMESPACE}/pods`, 200, { query: { labelSelector } });

/** What the node reports of a pod. */
async function report(pod: Json | undefined, status: Json): Promise<void> {
  expect(pod).toBeDefined();
  const path = `${NAMESPACE}/pods/${String(metadataOf(pod ?? {})['name'])}/status`;
  await send('PATCH', path, 200, { body: { status }, headers: MERGE });
}

describe('Helm', () => {
  it(
    'waits for a Deployment by its newest ReplicaSet and pods',
    async () => {
      const isSeen = (live: Json): boolean =>
        Number(statusOf(live)['observedGeneration'] ?? 0) >= Number(metadataOf(live)['generation']);
      await send('POST', DEPLOYMENTS, 201, { body: deployment('waited', 'one'), query: { fieldManager: 'helm' } });
      const live = await poll(`${DEPLOYMENTS}/waited`, (answer) => isSeen(answer) && statusOf(answer)['replicas'] === 1);
      expect(statusOf(live)).toMatchObject({ updatedReplicas: 1, unavailableReplicas: 1 });
      expect(statusOf(live)['readyReplicas'] ?? 0).toBe(0);
      const query = { labelSelector: 'app=waited' };
      const sets = itemsOf(await send('GET', '/apis/apps/v1/namespaces/default/replicasets', 200, { query }));
      expect(sets).toHaveLength(1);
      const owner = { kind: 'Deployment', name: 'waited', uid: metadataOf(live)['uid'], controller: true };
      expect(metadataOf(sets[0] ?? {})['ownerReferences']).toEqual([expect.objectContaining(owner)]);
      const hash = String((metadataOf(sets[0] ?? {})['labels'] as Json)['pod-template-hash']);
      const pods = itemsOf(await podsOf(`app=waited,pod-template-hash=${hash}`));
      expect(pods).toHaveLength(1);
      await report(pods[0], { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] });
      const ready = await poll(`${DEPLOYMENTS}/waited`, (answer) => statusOf(answer)['availableReplicas'] === 1);
      expect(statusOf(ready)).toMatchObject({ replicas: 1, readyReplicas: 1, updatedReplicas: 1 });
      expect(statusOf(ready)['conditions']).toContainEqual(expect.objectContaining({ type: 'Available', status: 'True' }));
    },
    LIMIT_MS,
  );

  it(
    'watches the Job of a hook, by its name, until it is complete',
    async () => {
      const containers = [{ name: 'main', image: 'one' }];
      const hook = {
        ...{ apiVersion: 'batch/v1', kind: 'Job' },
        metadata: { name: 'hook', annotations: { 'helm.sh/hook': 'post-install' } },
        spec: { template: { spec: { restartPolicy: 'Never', containers } } },
      };
      await send('POST', JOBS, 201, { body: hook, query: { fieldManager: 'helm' } });
      const fieldSelector = 'metadata.name=hook';
      const list = await send('GET', JOBS, 200, { query: { fieldSelector } });
      expect(itemsOf(list)).toHaveLength(1);
      await poll(`${JOBS}/hook`, (job) => statusOf(job)['active'] === 1);
      await report(itemsOf(await podsOf('job-name=hook'))[0], { phase: 'Succeeded' });
      const resourceVersion = String(metadataOf(list)['resourceVersion']);
      const signal = AbortSignal.timeout(60_000);
      const seen: unknown[] = [];
      for await (const event of requester.client.watch(JobKind, {
        namespace: 'default',
        fieldSelector,
        resourceVersion,
        signal,
      })) {
        const { metadata, status } = event.object as Job; // an error would have no name
        seen.push(metadata.name);
        if (status?.conditions?.some(({ type, status: value }) => type === 'Complete' && value === 'True')) break;
      }
      expect(new Set(seen)).toEqual(new Set(['hook']));
      expect(statusOf(await send('GET', `${JOBS}/hook`, 200))).toMatchObject({ succeeded: 1 });
    },
    LIMIT_MS,
  );
});

describe('Terraform', () => {
  it(
    'waits on fields of a manifest',
    async () => {
      await send('POST', VMS, 201, { body: vm('fields') });
      expect(statusOf(await send('GET', `${VMS}/fields`, 200))['printableStatus']).not.toBe('Stopped');
      const waiting = poll(`${VMS}/fields`, (answer) => /^Stopped$/.test(String(statusOf(answer)['printableStatus'])));
      // the part of the controller of virtual machines
      const body = { status: { printableStatus: 'Stopped', conditions: [{ type: 'Ready', status: 'False' }] } };
      await send('PATCH', `${VMS}/fields/status`, 200, { body, headers: MERGE });
      const live = await waiting;
      expect(metadataOf(live)['generation']).toBe(1);
    },
    LIMIT_MS,
  );

  it(
    'deletes a namespace and waits until it is gone with all that is in it',
    async () => {
      await send('POST', '/api/v1/namespaces', 201, { body: { metadata: { name: 'leaving' } } });
      const inside = '/api/v1/namespaces/leaving';
      const map = { metadata: { name: 'held', finalizers: ['example.com/hold'] } };
      await send('POST', `${inside}/configmaps`, 201, { body: map });
      const machines = '/apis/kubevirt.io/v1/namespaces/leaving/virtualmachines';
      await send('POST', machines, 201, { body: vm('inside', { namespace: 'leaving' }) });
      const deleted = await send('DELETE', inside, 200);
      expect(deleted).toMatchObject({ kind: 'Namespace', status: { phase: 'Terminating' } });
      await poll(`${machines}/inside`, isGone);
      expect(statusOf(await send('GET', inside, 200))['phase']).toBe('Terminating');
      const refused = await send('POST', `${inside}/configmaps`, 403, { body: { metadata: { name: 'late' } } });
      expect(refused['details']).toMatchObject({ causes: [expect.objectContaining({ reason: 'NamespaceTerminating' })] });
      await send('PATCH', `${inside}/configmaps/held`, 200, { body: { metadata: { finalizers: null } }, headers: MERGE });
      await poll(inside, isGone);
      await send('GET', `${inside}/configmaps/held`, 404);
    },
    LIMIT_MS,
  );

  it(
    'gets the token of a service account by a Secret that is filled, and logs in with it',
    async () => {
      await send('POST', `${NAMESPACE}/serviceaccounts`, 201, { body: { metadata: { name: 'robot' } } });
      const annotations = { 'kubernetes.io/service-account.name': 'robot' };
      const secret = { metadata: { name: 'robot-token', annotations }, type: 'kubernetes.io/service-account-token' };
      await send('POST', `${NAMESPACE}/secrets`, 201, { body: secret });
      const filled = await poll(
        `${NAMESPACE}/secrets/robot-token`,
        ({ data }) => (data as Json | undefined)?.['token'] !== undefined,
      );
      const data = filled['data'] as Record<string, string>; // waited for
      const decoded = (field: string): string => Buffer.from(data[field] ?? '', 'base64').toString();
      expect([decoded('ca.crt'), decoded('namespace')]).toEqual([cluster.ca, 'default']);
      const token = decoded('token');
      const robot = createHttpClient({
        server: cluster.url,
        ca: decoded('ca.crt'),
        credentials: () => Promise.resolve({ token }),
      });
      const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
      const review = await robot.raw({ method: 'POST', path: '/apis/authentication.k8s.io/v1/selfsubjectreviews', body });
      expect(review.body).toMatchObject({ status: { userInfo: { username: 'system:serviceaccount:default:robot' } } });
      const refusal = await robot.raw({ method: 'GET', path: `${NAMESPACE}/secrets` }).catch((error: unknown) => error);
      expect(refusal instanceof StatusError && refusal.code).toBe(403);
      await robot.close();
    },
    LIMIT_MS,
  );
});
