import { isObject, type UnstructuredObject } from '@slipway/apimachinery';
import { nodeNameOf, NODES_GROUP } from '../authz/node-authorizer.ts';
import { MASTERS_GROUP } from '../authz/authorizer.ts';

export const NODE_CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
export const CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client';

/** What is in the PKCS #10 request; its signature was checked. */
export interface RequestedIdentity {
  readonly commonName: string;
  readonly organizations: readonly string[];
  /** Anything beyond a subject: names of hosts and the like. */
  readonly hasExtensions: boolean;
}

export type SigningPlan =
  /** Somebody has to decide, has refused, or it is done. */
  | { readonly type: 'leave' }
  | { readonly type: 'fail'; readonly message: string }
  | { readonly type: 'sign'; readonly lifetimeMs: number; readonly approves: boolean };

const DAY_MS = 24 * 60 * 60 * 1000;
const MAX_LIFETIME_MS = 365 * DAY_MS;
const MIN_LIFETIME_MS = 10 * 60 * 1000;
const USAGES: readonly string[] = ['digital signature', 'key encipherment', 'client auth'];

const hasCondition = (status: unknown, type: string): boolean =>
  isObject(status) &&
  Array.isArray(status['conditions']) &&
  status['conditions'].some((one) => isObject(one) && one['type'] === type);

/** True for requests whose certificate this server could issue and has not. */
export function isOpen({ spec, status }: UnstructuredObject): boolean {
  const signer = isObject(spec) ? spec['signerName'] : undefined;
  if (signer !== NODE_CLIENT_SIGNER && signer !== CLIENT_SIGNER) return false;
  const isIssued = isObject(status) && Boolean(status['certificate']);
  return !isIssued && !hasCondition(status, 'Denied') && !hasCondition(status, 'Failed');
}

/**
 * A node gets a certificate for itself without being asked twice: it has shown who it is by the one it holds. Everything
 * else is signed when an administrator has approved it. `requested` is undefined when the request cannot be read.
 */
export function planSigning(request: UnstructuredObject, requested: RequestedIdentity | undefined): SigningPlan {
  if (!isOpen(request)) return { type: 'leave' };
  const spec = isObject(request['spec']) ? request['spec'] : {};
  const isApproved = hasCondition(request['status'], 'Approved');
  const isNode = spec['signerName'] === NODE_CLIENT_SIGNER;
  const complaint = complaintAbout(spec, requested, isNode);
  if (complaint !== undefined) return isApproved ? { type: 'fail', message: complaint } : { type: 'leave' };
  const isOwn = isNode && nodeNameOf(userOf(spec)) !== undefined && requested?.commonName === spec['username'];
  if (!isApproved && !isOwn) return { type: 'leave' };
  const wanted = typeof spec['expirationSeconds'] === 'number' ? spec['expirationSeconds'] * 1000 : MAX_LIFETIME_MS;
  return { type: 'sign', lifetimeMs: Math.max(MIN_LIFETIME_MS, Math.min(wanted, MAX_LIFETIME_MS)), approves: !isApproved };
}

function complaintAbout(
  spec: Record<string, unknown>,
  requested: RequestedIdentity | undefined,
  isNode: boolean,
): string | undefined {
  if (requested === undefined) return 'spec.request is no PKCS #10 request that its key has signed';
  const usages: unknown[] = Array.isArray(spec['usages']) ? spec['usages'] : [];
  if (!usages.includes('client auth') || usages.some((usage) => !USAGES.includes(String(usage))))
    return 'spec.usages must be those of a client certificate';
  if (requested.hasExtensions) return 'a client certificate has no alternative names and other extensions';
  if (requested.commonName === '') return 'the subject has no common name';
  if (requested.organizations.includes(MASTERS_GROUP)) return `the group ${MASTERS_GROUP} is not handed out`;
  if (!isNode) return undefined;
  const { commonName, organizations } = requested;
  const isNodeName = nodeNameOf({ username: commonName, groups: organizations }) !== undefined;
  return isNodeName && organizations.length === 1
    ? undefined
    : `the subject must be system:node:NAME of the group ${NODES_GROUP} alone`;
}

function userOf(spec: Record<string, unknown>): { username: string; groups: readonly string[] } {
  const groups = Array.isArray(spec['groups']) ? spec['groups'].map(String) : [];
  return { username: typeof spec['username'] === 'string' ? spec['username'] : '', groups };
}

/** Old requests are of no use to anybody. */
export function isOutdated(request: UnstructuredObject, nowMs: number): boolean {
  const ageMs = nowMs - Date.parse(request.metadata.creationTimestamp ?? '');
  const { status } = request;
  const isDecided = hasCondition(status, 'Approved') || hasCondition(status, 'Denied') || hasCondition(status, 'Failed');
  return ageMs > (isDecided ? DAY_MS / 24 : DAY_MS);
}
