import {
  EventKind,
  LeaseKind,
  NamespaceKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  PodKind,
  SecretKind,
  VirtualMachineInstanceKind,
  bundledCustomResourceDefinitions,
  sharedVolumeUid,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';

const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
const OWN = 'n1';
const OTHER = 'n2';
const nodeUser = (name: string) => ({ username: `system:node:${name}`, groups: ['system:nodes', 'system:authenticated'] });
const named = (name: string) => ({ namespace: 'a', name });

let server: ApiServer;
let admin: Client;
let agent: Client;
const claimUids = new Map<string, string>();

const volumeOf = (
  name: string,
  node: string,
  { claim = `claim-${node}`, source = { local: { path: '/v' } } as object } = {},
) => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name },
  spec: {
    accessModes: ['ReadWriteOnce'],
    capacity: { storage: '1Gi' },
    claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace: 'a', name: claim, uid: claimUids.get(claim) ?? '' },
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] }],
      },
    },
    persistentVolumeReclaimPolicy: 'Delete',
    storageClassName: 'local',
    ...source,
  },
});

/** A volume without a node, that the agent of one has made. */
function sharedVolumeOf(node: string, handleOf = claimUids.get(`claim-${node}`)) {
  const { spec, ...volume } = volumeOf(`shared-${node}`, node);
  const { nodeAffinity: _, local: __, ...rest } = spec as typeof spec & { local?: object };
  const csi = { driver: 'shared.slipway.dev', volumeHandle: sharedVolumeUid(handleOf ?? '') };
  const annotations = { 'slipway.dev/provisioning-node': node };
  return { ...volume, metadata: { ...volume.metadata, annotations }, spec: { ...rest, csi } };
}

const eventOf = (name: string, host: string) => ({
  apiVersion: 'v1',
  kind: 'Event',
  metadata: { name, namespace: 'a' },
  involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'a', name: 'p' },
  reason: 'Tested',
  message: 'said',
  type: 'Normal',
  source: { component: 'virt-handler', host },
});

const podOf = (name: string, nodeName: string, secret: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'a' },
  spec: {
    nodeName,
    containers: [{ name: 'c', image: 'slipway/virt-launcher' }],
    volumes: [{ name: 's', secret: { secretName: secret } }],
  },
});

const instanceOf = (name: string, nodeName: string) => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name, namespace: 'a' },
  spec: { domain: { devices: {} } },
  status: { nodeName, phase: 'Scheduled' },
});

async function seed(): Promise<void> {
  await admin.create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'a' } });
  for (const node of [OWN, OTHER]) {
    await admin.create(NodeKind, { apiVersion: 'v1', kind: 'Node', metadata: { name: node } });
    const claim = await admin.create(PersistentVolumeClaimKind, {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: `claim-${node}`, namespace: 'a', annotations: { [SELECTED_NODE]: node } },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'local', resources: { requests: { storage: '1Gi' } } },
    });
    claimUids.set(`claim-${node}`, claim.metadata.uid ?? '');
    await admin.create(PersistentVolumeKind, volumeOf(`volume-${node}`, node));
    await admin.create(EventKind, eventOf(`event-${node}`, node));
    await admin.create(SecretKind, { apiVersion: 'v1', kind: 'Secret', metadata: { name: `secret-${node}`, namespace: 'a' } });
    await admin.create(PodKind, podOf(`pod-${node}`, node, `secret-${node}`));
    await admin.create(VirtualMachineInstanceKind, instanceOf(`vmi-${node}`, node));
  }
}

/** `allowed`, or the reason of the refusal. */
const outcome = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'allowed',
    (error: { reason?: string }) => error.reason ?? 'failed',
  );

describe('what a node agent may write', () => {
  beforeEach(async () => {
    server = await createApiServer({
      store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
      definitions: builtinResources(),
      bundledCrds: bundledCustomResourceDefinitions(),
    });
    admin = server.client({ username: 'admin', groups: ['system:masters'] });
    agent = server.client(nodeUser(OWN));
    await seed();
  });
  afterEach(() => server.close());

  const annotated = { metadata: { annotations: { note: 'x' } } };
  const merge = { type: 'merge' } as const;

  const WRITES: readonly (readonly [string, (node: string) => Promise<unknown>])[] = [
    ['annotates a Node', (node) => agent.patch(NodeKind, { namespace: '', name: node }, annotated, merge)],
    [
      'creates a Lease',
      (node) =>
        agent.create(LeaseKind, {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { name: node, namespace: 'kube-node-lease' },
        }),
    ],
    ['annotates a pod', (node) => agent.patch(PodKind, named(`pod-${node}`), annotated, merge)],
    [
      'writes the status of a pod',
      (node) => agent.patch(PodKind, named(`pod-${node}`), { status: { phase: 'Running' } }, { ...merge, subresource: 'status' }),
    ],
    ['deletes a pod', (node) => agent.delete(PodKind, named(`pod-${node}`), { gracePeriodSeconds: 0 })],
    [
      'writes the status of an instance',
      (node) => agent.patch(VirtualMachineInstanceKind, named(`vmi-${node}`), { status: { phase: 'Running' } }, merge),
    ],
    ['creates a volume for all nodes', (node) => agent.create(PersistentVolumeKind, sharedVolumeOf(node))],
    ['creates a volume', (node) => agent.create(PersistentVolumeKind, volumeOf(`made-${node}`, node))],
    [
      'grows a volume',
      (node) =>
        agent.patch(
          PersistentVolumeKind,
          { namespace: '', name: `volume-${node}` },
          { spec: { capacity: { storage: '2Gi' } } },
          merge,
        ),
    ],
    ['deletes a volume', (node) => agent.delete(PersistentVolumeKind, { namespace: '', name: `volume-${node}` })],
    ['reports an event', (node) => agent.create(EventKind, eventOf('new', node))],
    ['counts an event', (node) => agent.patch(EventKind, named(`event-${node}`), { count: 2 }, merge)],
    ['reads a secret its pod uses', (node) => agent.get(SecretKind, named(`secret-${node}`))],
  ];

  it.each(WRITES)('%s of its own, never of another node', async (_what, attempt) => {
    expect([await outcome(attempt(OWN)), await outcome(attempt(OTHER))]).toEqual(['allowed', 'Forbidden']);
  });

  it.each<[string, () => Promise<unknown>]>([
    [
      'a volume for a claim of another node',
      () => agent.create(PersistentVolumeKind, volumeOf('v', OWN, { claim: `claim-${OTHER}` })),
    ],
    ['a volume for a claim that is not there', () => agent.create(PersistentVolumeKind, volumeOf('v', OWN, { claim: 'none' }))],
    [
      'a volume of another driver',
      () => agent.create(PersistentVolumeKind, volumeOf('v', OWN, { source: { hostPath: { path: '/etc' } } })),
    ],
    [
      'the shared volume of another claim',
      () => agent.create(PersistentVolumeKind, sharedVolumeOf(OWN, claimUids.get(`claim-${OTHER}`))),
    ],
    [
      'another claim for a volume',
      () =>
        agent.patch(
          PersistentVolumeKind,
          { namespace: '', name: `volume-${OWN}` },
          { spec: { claimRef: { name: `claim-${OTHER}`, uid: claimUids.get(`claim-${OTHER}`) ?? '' } } },
          merge,
        ),
    ],
    ['a claim', () => agent.patch(PersistentVolumeClaimKind, named(`claim-${OWN}`), annotated, merge)],
    ['another reporter of its event', () => agent.patch(EventKind, named(`event-${OWN}`), { source: { host: OTHER } }, merge)],
    [
      'the spec of its instance',
      () =>
        agent.patch(
          VirtualMachineInstanceKind,
          named(`vmi-${OWN}`),
          { spec: { volumes: [{ name: 's', secret: { secretName: `secret-${OTHER}` } }] } },
          merge,
        ),
    ],
    [
      'the node of its instance',
      () => agent.patch(VirtualMachineInstanceKind, named(`vmi-${OWN}`), { status: { nodeName: OTHER } }, merge),
    ],
    ['the list of secrets', () => agent.list(SecretKind, { namespace: 'a' })],
  ])('is refused %s', async (_what, attempt) => {
    expect(await outcome(attempt())).toBe('Forbidden');
  });

  describe('of a guest that comes to its node', () => {
    const key = named(`vmi-${OTHER}`);
    const write = (change: object) => outcome(agent.patch(VirtualMachineInstanceKind, key, change, merge));
    const labels = { 'kubevirt.io/nodeName': OWN, 'kubevirt.io/migrationTargetNodeName': null };
    beforeEach(() => {
      const coming = { 'kubevirt.io/nodeName': OTHER, 'kubevirt.io/migrationTargetNodeName': OWN };
      return admin.patch(VirtualMachineInstanceKind, key, { metadata: { labels: coming } }, merge);
    });

    it('writes how it comes, and that it is there', async () => {
      expect(await write({ status: { migrationState: { targetNodeAddress: '10.0.0.1' } } })).toBe('allowed');
      expect(await write({ metadata: { labels }, status: { nodeName: OWN, migrationState: { completed: true } } })).toBe(
        'allowed',
      );
      expect(await write({ status: { phase: 'Succeeded' } })).toBe('allowed'); // it is its own now
    });

    it.each([
      ['its phase', { status: { phase: 'Failed' } }],
      ['a third node', { status: { nodeName: 'n3' } }],
      ['the node without its label', { status: { nodeName: OWN } }],
      ['the label without the node', { metadata: { labels } }],
      ['another label', { metadata: { labels: { app: 'mine' } } }],
      ['its finalizers', { metadata: { finalizers: [] } }],
      ['an annotation', { metadata: { annotations: { a: 'b' } } }],
    ])('is refused %s', async (_what, change) => {
      await admin.patch(VirtualMachineInstanceKind, key, { metadata: { finalizers: ['example.com/keep'] } }, merge);
      expect(await write(change)).toBe('Forbidden');
    });
  });

  it('is refused another node for a volume, as everybody is', async () => {
    const { nodeAffinity } = volumeOf('v', OTHER).spec;
    const moved = agent.patch(PersistentVolumeKind, { namespace: '', name: `volume-${OWN}` }, { spec: { nodeAffinity } }, merge);
    expect(await outcome(moved)).toBe('Invalid');
  });
});
