import { createHash } from 'node:crypto';
import {
  type Condition,
  deepEqual,
  findCondition,
  formatTime,
  isAlreadyExists,
  isTerminating,
  keyOf,
  type KubeObject,
  ownerReference,
  setCondition,
} from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, type InformerEvent, watchOf } from '@slipway/runtime';
import {
  CatalogSourceKind,
  type ClusterServiceVersion,
  ClusterServiceVersionKind,
  type InstallPlan,
  InstallPlanKind,
  OperatorGroupKind,
  type Reference,
  type Subscription,
  SubscriptionKind,
  type SubscriptionStatus,
} from './kinds.ts';
import { type Resolution, resolve } from './resolve.ts';

const API_VERSION = 'operators.coreos.com/v1alpha1';
const PROBLEMS = ['CatalogSourcesUnhealthy', 'ResolutionFailed'] as const;

/** Resolves Subscriptions: an InstallPlan for the newest version, and a status that says how far it is. */
export const subscriptionController: ControllerRegistration = {
  name: 'olm-catalog-operator',
  rules: [...allow('update', [SubscriptionKind, 'status']), ...allow('create', InstallPlanKind)],
  create({ client, clock, events, informers, settings }) {
    const subscriptions = informers.lister(SubscriptionKind);
    const sources = informers.lister(CatalogSourceKind);
    const groups = informers.lister(OperatorGroupKind);
    const plans = informers.lister(InstallPlanKind);
    const versions = informers.lister(ClusterServiceVersionKind);
    const inNamespaceOf = ({ metadata }: KubeObject) =>
      subscriptions.list(metadata.namespace ?? '').map((subscription) => keyOf(subscription));
    const isMoved = ({ type, object, old }: InformerEvent<InstallPlan | ClusterServiceVersion>): boolean =>
      type !== 'updated' || object.status?.phase !== old.status?.phase;
    return {
      kind: SubscriptionKind,
      concurrency: 1,
      watches: [
        watchOf(
          CatalogSourceKind,
          () => subscriptions.list().map((subscription) => keyOf(subscription)),
          ({ type }) => type !== 'updated',
        ),
        watchOf(OperatorGroupKind, inNamespaceOf, ({ type }) => type !== 'updated'),
        watchOf(InstallPlanKind, inNamespaceOf, isMoved),
        watchOf(ClusterServiceVersionKind, inNamespaceOf, isMoved),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const subscription = subscriptions.get(key);
          if (subscription === undefined || isTerminating(subscription)) return done;
          const { source, sourceNamespace } = subscription.spec;
          const resolution = resolve(subscription, {
            source: sources.get({ namespace: sourceNamespace, name: source }),
            groups: groups.list(key.namespace),
            others: subscriptions.list(key.namespace).filter(({ metadata }) => metadata.name !== key.name),
            version: settings.version,
          });
          const plan = 'csv' in resolution ? await planFor(subscription, resolution.csv, signal) : undefined;
          const csv = plan && versions.get({ namespace: key.namespace, name: plan.spec.clusterServiceVersionNames[0] ?? '' });
          const now = formatTime(clock.now());
          const status = statusOf(subscription, { resolution, plan, hasCsv: csv !== undefined, now });
          if (deepEqual({ ...status, lastUpdated: '' }, { ...subscription.status, lastUpdated: '' })) return done;
          await client.update(SubscriptionKind, { ...subscription, status }, { subresource: 'status', signal });
          return done;
        },
      },
    };

    /** The plan that leads there: the one that exists, else a new one. */
    async function planFor(subscription: Subscription, csv: string, signal: AbortSignal): Promise<InstallPlan> {
      const wanted = installPlan(subscription, csv);
      const existing = plans.get(keyOf(wanted));
      if (existing !== undefined) return existing;
      try {
        const created = await client.create(InstallPlanKind, wanted, { signal });
        events.normal(subscription, 'InstallPlanCreated', `Created install plan ${created.metadata.name} for ${csv}`);
        return created;
      } catch (error) {
        if (!isAlreadyExists(error)) throw error; // the cache is behind
        return client.get(InstallPlanKind, keyOf(wanted), { signal });
      }
    }
  },
};

/** One for each version that a Subscription is led to: its name follows from both. */
function installPlan(subscription: Subscription, csv: string): InstallPlan {
  const { namespace = '', uid } = subscription.metadata;
  const approval = subscription.spec.installPlanApproval ?? 'Automatic';
  const suffix = createHash('sha256').update(`${uid} ${csv}`).digest('hex').slice(0, 5);
  return {
    apiVersion: API_VERSION,
    kind: 'InstallPlan',
    metadata: { name: `install-${suffix}`, namespace, ownerReferences: [ownerReference(subscription, SubscriptionKind)] },
    spec: { approval, approved: approval === 'Automatic', clusterServiceVersionNames: [csv], generation: 1 },
  };
}

interface Findings {
  readonly resolution: Resolution;
  readonly plan: InstallPlan | undefined;
  /** Whether the ClusterServiceVersion that it leads to is there. */
  readonly hasCsv: boolean;
  readonly now: string;
}

/** Pure. */
function statusOf({ status }: Subscription, { resolution, plan, hasCsv, now }: Findings): SubscriptionStatus {
  const conditions = conditionsOf(status?.conditions ?? [], resolution, hasCsv ? undefined : plan, now);
  const csv = plan?.spec.clusterServiceVersionNames[0];
  if (plan === undefined || csv === undefined) return { ...status, conditions: [...conditions], lastUpdated: now };
  const reference: Reference = {
    apiVersion: API_VERSION,
    kind: 'InstallPlan',
    name: plan.metadata.name ?? '',
    namespace: plan.metadata.namespace ?? '',
    uid: plan.metadata.uid ?? '',
  };
  return {
    ...status,
    currentCSV: csv,
    ...(hasCsv && { installedCSV: csv }),
    // what was installed and is gone is not installed again: delete the Subscription and create it anew
    state: hasCsv ? 'AtLatestKnown' : 'UpgradePending',
    installPlanGeneration: plan.spec.generation ?? 1,
    installPlanRef: reference,
    installplan: reference,
    conditions: [...conditions],
    lastUpdated: now,
  };
}

function conditionsOf(
  before: readonly Condition[],
  resolution: Resolution,
  waiting: InstallPlan | undefined,
  now: string,
): readonly Condition[] {
  const problem = 'problem' in resolution ? resolution : undefined;
  let conditions = before.filter(({ type }) => type !== 'ResolutionFailed' && type !== 'InstallPlanPending');
  const set = (type: string, status: 'True' | 'False', reason: string, message: string): void => {
    const last = findCondition(before, type);
    conditions = [
      ...setCondition(
        [...conditions, ...(last && !findCondition(conditions, type) ? [last] : [])],
        { type, status, reason, message },
        now,
      ),
    ];
  };
  if (problem?.problem !== PROBLEMS[0])
    set('CatalogSourcesUnhealthy', 'False', 'AllCatalogSourcesHealthy', 'all available catalogsources are healthy');
  if (problem !== undefined) set(problem.problem, 'True', problem.reason, problem.message);
  const phase = waiting?.status?.phase;
  if (waiting !== undefined && phase !== 'Complete')
    set('InstallPlanPending', 'True', phase ?? 'Planning', phase === 'RequiresApproval' ? approvalHint(waiting) : '');
  return conditions;
}

const approvalHint = ({ metadata }: InstallPlan): string =>
  `install plan ${metadata.name} waits for spec.approved to be set to true`;
