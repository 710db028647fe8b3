import { deepEqual, formatTime, isTerminating, keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { isOurCsv } from './catalogue.ts';
import { type ClusterServiceVersion, ClusterServiceVersionKind, type OperatorGroup, OperatorGroupKind } from './kinds.ts';
import { installModeOf } from './resolve.ts';

/** A state with its reason, as `status` and its history have it. */
export interface Phase {
  readonly phase: string;
  readonly reason: string;
  readonly message: string;
}

/** The states that lead to an operator that works; the operator itself runs already. */
const STEPS: readonly Phase[] = [
  { phase: 'Pending', reason: 'RequirementsUnknown', message: 'requirements not yet checked' },
  { phase: 'InstallReady', reason: 'AllRequirementsMet', message: 'all requirements found, attempting install' },
  { phase: 'Installing', reason: 'InstallSucceeded', message: 'waiting for install components to report healthy' },
  { phase: 'Succeeded', reason: 'InstallSucceeded', message: 'install strategy completed with no errors' },
];

/** The next state, undefined when it has the right one. Pure. */
export function nextPhase(
  { metadata, spec, status }: ClusterServiceVersion,
  groups: readonly OperatorGroup[],
  others: readonly ClusterServiceVersion[],
): Phase | undefined {
  const name = metadata.name ?? '';
  const fault = faultOf(name, spec, groups);
  if (fault !== undefined) return isAs(status, fault) ? undefined : fault;
  const successor = others.find((other) => other.spec.replaces === name && other.status?.phase === 'Succeeded');
  if (successor !== undefined && status?.phase === 'Succeeded') {
    const message = `has been replaced by a newer ClusterServiceVersion that has successfully installed: ${successor.metadata.name}`;
    return { phase: 'Replacing', reason: 'BeingReplaced', message };
  }
  if (status?.phase === 'Replacing') return undefined;
  return STEPS[STEPS.findIndex(({ phase }) => phase === status?.phase) + 1];
}

function faultOf(
  name: string,
  { installModes }: ClusterServiceVersion['spec'],
  groups: readonly OperatorGroup[],
): Phase | undefined {
  const failed = (reason: string, message: string): Phase => ({ phase: 'Failed', reason, message });
  if (!isOurCsv(name)) {
    const message = 'this platform runs no operators from images; its own operator comes by a Subscription';
    return failed('InstallComponentFailed', message);
  }
  const [group, ...more] = groups;
  if (group === undefined) return failed('NoOperatorGroup', 'csv in namespace with no operatorgroups');
  if (more.length > 0)
    return failed('TooManyOperatorGroups', "csv created in namespace with multiple operatorgroups, can't pick one automatically");
  const mode = installModeOf(group);
  if (installModes?.some(({ type, supported }) => type === mode && supported)) return undefined;
  const targets = (group.spec?.targetNamespaces ?? []).join(', ') || 'all namespaces';
  return failed('UnsupportedOperatorGroup', `${mode} InstallModeType not supported, cannot configure to watch ${targets}`);
}

const isAs = (status: ClusterServiceVersion['status'], { phase, reason, message }: Phase): boolean =>
  status?.phase === phase && status.reason === reason && status.message === message;

/** Brings ClusterServiceVersions through their states, and takes away those that a newer one has replaced. */
export const clusterServiceVersionController: ControllerRegistration = {
  name: 'olm-operator',
  rules: [
    ...allow('update', [ClusterServiceVersionKind, 'status'], [OperatorGroupKind, 'status']),
    ...allow('delete', ClusterServiceVersionKind),
  ],
  create({ client, clock, events, informers }) {
    const versions = informers.lister(ClusterServiceVersionKind);
    const groups = informers.lister(OperatorGroupKind);
    const besides = (namespace = '') => versions.list(namespace).map((version) => keyOf(version));
    return {
      kind: ClusterServiceVersionKind,
      concurrency: 1,
      watches: [
        watchOf(OperatorGroupKind, ({ metadata }) => besides(metadata.namespace)),
        watchOf(ClusterServiceVersionKind, ({ metadata }) => besides(metadata.namespace)),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const version = versions.get(key);
          if (version === undefined || isTerminating(version)) return done;
          const next = nextPhase(version, groups.list(key.namespace), versions.list(key.namespace));
          if (next === undefined) {
            const { uid } = version.metadata;
            if (version.status?.phase === 'Replacing')
              await client.delete(ClusterServiceVersionKind, key, { signal, ...(uid && { preconditions: { uid } }) });
            return done;
          }
          const now = formatTime(clock.now());
          const entry = { ...next, lastTransitionTime: now, lastUpdateTime: now };
          const conditions = [...(version.status?.conditions ?? []), entry].slice(-HISTORY);
          await client.update(
            ClusterServiceVersionKind,
            { ...version, status: { ...version.status, ...entry, conditions } },
            { subresource: 'status', signal },
          );
          if (next.phase === 'Failed') events.warning(version, next.reason, next.message);
          else events.normal(version, next.reason, next.message);
          return done;
        },
      },
    };
  },
};

/** So many states of the past are kept. */
const HISTORY = 20;

/** Says which namespaces an OperatorGroup means. */
export const operatorGroupController: ControllerRegistration = {
  name: 'olm-operator-groups',
  rules: allow('update', [OperatorGroupKind, 'status']),
  create({ client, clock, informers }) {
    const groups = informers.lister(OperatorGroupKind);
    return {
      kind: OperatorGroupKind,
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          const group = groups.get(key);
          if (group === undefined || isTerminating(group)) return done;
          const targets = group.spec?.targetNamespaces ?? [];
          const namespaces = targets.length > 0 ? [...targets] : [''];
          if (deepEqual(group.status?.namespaces, namespaces)) return done;
          const status = { ...group.status, namespaces, lastUpdated: formatTime(clock.now()) };
          await client.update(OperatorGroupKind, { ...group, status }, { subresource: 'status', signal });
          return done;
        },
      },
    };
  },
};
