import type { Role, RoleBinding, ServiceAccount, VirtualMachine } from '@slipway/api';
import { badRequest, deepEqual, formatDuration, type KubeObject, parseDuration } from '@slipway/apimachinery';

const PROXY = 'vm-console-proxy';
const MANAGED_BY = 'app.kubernetes.io/managed-by';
const RBAC = 'rbac.authorization.k8s.io';
const MINUTE_MS = 60_000;
/** The shortest time that a token of a service account may have, and what one has unless asked for. */
const SHORTEST_MS = 10 * MINUTE_MS;

/** Seconds of the parameter `duration`. Throws 400. */
export function tokenSeconds(duration: string | null): number {
  if (duration === null || duration === '') return SHORTEST_MS / 1000;
  const ms = parseDuration(duration);
  if (ms === undefined) throw badRequest(`failed to parse duration: time: invalid duration ${JSON.stringify(duration)}`);
  if (ms < SHORTEST_MS)
    throw badRequest(`the duration must be at least ${formatDuration(SHORTEST_MS)}, not ${JSON.stringify(duration)}`);
  return Math.floor(ms / 1000);
}

/** What lets a token open the screen of one VM and nothing else. All three go with the VM. */
export interface AccessObjects {
  readonly account: ServiceAccount;
  readonly role: Role;
  readonly binding: RoleBinding;
}

/** The objects for a VM, named as vm-console-proxy names them. */
export function accessObjects({ metadata: { name = '', namespace = '', uid = '' } }: VirtualMachine): AccessObjects {
  const labels = Object.fromEntries(
    ['name', 'part-of', 'managed-by', 'component'].map((label) => [`app.kubernetes.io/${label}`, PROXY]),
  );
  const metadata = {
    name: `${name}-vnc-access`,
    namespace,
    labels,
    ownerReferences: [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name, uid }],
  };
  return {
    account: { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    role: {
      apiVersion: `${RBAC}/v1`,
      kind: 'Role',
      metadata,
      rules: [
        {
          apiGroups: ['subresources.kubevirt.io'],
          resources: ['virtualmachineinstances/vnc'],
          resourceNames: [name],
          verbs: ['get'],
        },
      ],
    },
    binding: {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: RBAC, kind: 'Role', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: metadata.name, namespace }],
    },
  };
}

/**
 * `stale`: of an earlier VM of that name, or changed by somebody. Its tokens must not open this VM, so it is made anew.
 * `foreign`: somebody's own object that has the name by chance; a token of such an account could do more than open a screen.
 */
export type Standing = 'absent' | 'kept' | 'stale' | 'foreign';

export function standingOf(wanted: KubeObject, current: KubeObject | undefined): Standing {
  if (current === undefined) return 'absent';
  if (current.metadata.labels?.[MANAGED_BY] !== PROXY) return 'foreign';
  const owners = (object: KubeObject) => object.metadata.ownerReferences?.map(({ uid }) => uid);
  if (current.metadata.deletionTimestamp || !deepEqual(owners(wanted), owners(current))) return 'stale';
  const { metadata: _metadata, ...content } = wanted;
  const now = current as unknown as Readonly<Record<string, unknown>>; // fields of an object
  return Object.entries(content).every(([field, value]) => deepEqual(now[field], value)) ? 'kept' : 'stale';
}
