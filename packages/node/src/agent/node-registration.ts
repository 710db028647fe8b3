import { LeaseKind, NodeKind } from '@slipway/api';
import { ignoreAlreadyExists, isConflict, isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { NodeSettings } from '@slipway/virt';
import { type Logger, sleep, type TimerClock } from '@slipway/runtime';
import { uptimeMs } from '../fencing/index.ts';
import { type NodeCapabilities, mergedLabels, type NodeIdentity, newNode, nodeLabels, nodeStatus } from './node-object.ts';

export interface NodeRegistrationDeps {
  readonly client: Client;
  readonly identity: NodeIdentity;
  readonly host: NodeCapabilities;
  /** What the cluster's configuration says now. */
  readonly settings: () => NodeSettings;
  readonly clock: TimerClock;
  readonly log: Logger;
  /** After so many seconds of silence the server calls the node lost. */
  readonly leaseSeconds: number;
  /** The lease was renewed by a request sent at this time since the machine started. */
  readonly onRenewed?: (sentMs: number, signal: AbortSignal) => Promise<void>;
}

const LEASE_NAMESPACE = 'kube-node-lease';
const MAX_RENEW_MS = 10_000;
/** Of the lease: renewed so often, and a silence of so long may have been noticed. */
const RENEW_SHARE = 1 / 4;
const SILENCE_SHARE = 5 / 8;
/** KubeVirt-compat: its handler writes the heartbeat annotation every minute or so. */
const HEARTBEAT_MS = 60_000;
const RETRY_MS = 200;

/** Creates or updates this node's object and its status. Retries until the server takes it or the signal is aborted. */
export async function registerNode(deps: NodeRegistrationDeps, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await writeNode(deps, signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      deps.log.debug({ error: String(error) }, 'node not registered yet');
      await sleep(deps.clock, RETRY_MS, signal);
    }
  }
}

async function writeNode({ client, identity, host, settings, clock }: NodeRegistrationDeps, signal: AbortSignal): Promise<void> {
  const key = { namespace: '', name: identity.nodeName };
  const existing = await client.get(NodeKind, key, { signal }).catch(async (error: unknown) => {
    if (!isNotFound(error)) throw error;
    return client.create(NodeKind, newNode(identity, host, settings()), { signal });
  });
  const now = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
  const labels = mergedLabels(existing.metadata.labels ?? {}, nodeLabels(identity, host, settings()));
  const annotations = { ...existing.metadata.annotations, 'kubevirt.io/heartbeat': now };
  const labelled = await client.update(
    NodeKind,
    { ...existing, metadata: { ...existing.metadata, labels, annotations } },
    { signal },
  );
  const status = nodeStatus(identity, host, settings(), existing.status, now);
  await client.update(NodeKind, { ...labelled, status: { ...existing.status, ...status } }, { subresource: 'status', signal });
}

/** Renews the lease, and now and then the heartbeat annotation, until aborted. Failures are retried at the next beat. */
export async function keepHeartbeat(deps: NodeRegistrationDeps, signal: AbortSignal): Promise<void> {
  const leaseMs = deps.leaseSeconds * 1000;
  let lastAnnotationMs = deps.clock.now();
  let lastRenewalMs = deps.clock.now();
  while (!signal.aborted) {
    try {
      const sentMs = await uptimeMs();
      await renewLease(deps, signal);
      await deps.onRenewed?.(sentMs, signal);
      // after a silence the server has marked the node Unknown, and only its agent can say that it is back
      if (deps.clock.now() - lastRenewalMs >= leaseMs * SILENCE_SHARE) await writeNode(deps, signal);
      lastRenewalMs = deps.clock.now();
      if (deps.clock.now() - lastAnnotationMs >= HEARTBEAT_MS) {
        lastAnnotationMs = deps.clock.now();
        await annotateHeartbeat(deps, signal);
      }
    } catch (error) {
      if (!signal.aborted && !isConflict(error)) deps.log.warn({ error: String(error) }, 'heartbeat failed');
    }
    await sleep(deps.clock, Math.min(MAX_RENEW_MS, leaseMs * RENEW_SHARE), signal).catch(() => {});
  }
}

async function renewLease({ client, identity, clock, leaseSeconds }: NodeRegistrationDeps, signal: AbortSignal): Promise<void> {
  const key = { namespace: LEASE_NAMESPACE, name: identity.nodeName };
  // MicroTime has exactly six digits
  const renewTime = new Date(clock.now()).toISOString().replace('Z', '000Z');
  const spec = { holderIdentity: identity.nodeName, leaseDurationSeconds: leaseSeconds, renewTime };
  try {
    await client.patch(LeaseKind, key, { spec }, { type: 'merge', signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: key, spec };
    await client.create(LeaseKind, lease, { signal }).catch(ignoreAlreadyExists);
  }
}

async function annotateHeartbeat({ client, identity, clock }: NodeRegistrationDeps, signal: AbortSignal): Promise<void> {
  const heartbeat = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
  const patch = { metadata: { annotations: { 'kubevirt.io/heartbeat': heartbeat } } };
  await client.patch(NodeKind, { namespace: '', name: identity.nodeName }, patch, { type: 'merge', signal });
}
