import { type Condition, deepEqual, formatTime, isTerminating, keyOf, setCondition } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done } from '@slipway/runtime';
import { createOnce } from '../components/create-once.ts';
import { type CataloguePackage, csvName, csvOf, findPackage, isOurCsv } from './catalogue.ts';
import {
  type ClusterServiceVersion,
  ClusterServiceVersionKind,
  type InstallPlan,
  InstallPlanKind,
  type Subscription,
  SubscriptionKind,
} from './kinds.ts';

/** Carries out InstallPlans once they are approved. */
export const installPlanController: ControllerRegistration = {
  name: 'olm-install-plans',
  rules: [...allow('update', [InstallPlanKind, 'status']), ...allow('get create', ClusterServiceVersionKind)],
  create({ client, clock, informers, settings }) {
    const plans = informers.lister(InstallPlanKind);
    const subscriptions = informers.lister(SubscriptionKind);
    const versions = informers.lister(ClusterServiceVersionKind);
    return {
      kind: InstallPlanKind,
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          const plan = plans.get(key);
          // one that is carried out stays so: what is deleted later is not made again
          if (plan === undefined || isTerminating(plan) || ['Complete', 'Failed'].includes(plan.status?.phase ?? '')) return done;
          const owner = plan.metadata.ownerReferences?.find(({ kind }) => kind === 'Subscription')?.name ?? '';
          const subscription = subscriptions.get({ namespace: key.namespace, name: owner });
          const status = await carryOut(plan, subscription, signal);
          if (deepEqual(status, plan.status)) return done;
          await client.update(InstallPlanKind, { ...plan, status }, { subresource: 'status', signal });
          return done;
        },
      },
    };

    async function carryOut(
      plan: InstallPlan,
      subscription: Subscription | undefined,
      signal: AbortSignal,
    ): Promise<NonNullable<InstallPlan['status']>> {
      const now = formatTime(clock.now());
      const { status, spec } = plan;
      const name = spec.clusterServiceVersionNames[0] ?? '';
      const found = findPackage(subscription?.spec.name ?? '');
      const startTime = status?.startTime ?? now;
      if (found === undefined || subscription === undefined || name !== csvName(settings.version)) {
        const message = `${name || 'nothing'} is not in the catalogue of this platform`;
        return { ...status, phase: 'Failed', message, conditions: installed(status?.conditions, 'False', message, now) };
      }
      const base = { ...status, catalogSources: [subscription.spec.source], plan: [step(name, subscription, 'Unknown')] };
      if (!spec.approved) return { ...base, phase: 'RequiresApproval' };
      const former = versions
        .list(plan.metadata.namespace)
        .find(({ metadata }) => metadata.name !== name && isOurCsv(metadata.name) && !isTerminating({ metadata }));
      await createOnce(client, ClusterServiceVersionKind, clusterServiceVersion(plan, name, found, former), signal);
      return {
        ...base,
        phase: 'Complete',
        startTime,
        plan: [step(name, subscription, 'Created')],
        conditions: installed(status?.conditions, 'True', '', now),
      };
    }

    function clusterServiceVersion(
      plan: InstallPlan,
      name: string,
      found: CataloguePackage,
      former: ClusterServiceVersion | undefined,
    ): ClusterServiceVersion {
      const { namespace } = keyOf(plan);
      return {
        apiVersion: 'operators.coreos.com/v1alpha1',
        kind: 'ClusterServiceVersion',
        metadata: {
          name,
          namespace,
          labels: { [`operators.coreos.com/${found.name}.${namespace}`.slice(0, LABEL_LIMIT)]: '' },
          annotations: { 'operatorframework.io/suggested-namespace': 'openshift-cnv' },
        },
        spec: csvOf(found, settings.version, former?.metadata.name),
      };
    }
  },
};

/** Of the name of a label, its prefix included, so that the part behind the slash has its 63 characters. */
const LABEL_LIMIT = 'operators.coreos.com/'.length + 63;

const installed = (
  before: readonly Condition[] | undefined,
  status: 'True' | 'False',
  message: string,
  now: string,
): Condition[] => [
  ...setCondition(
    before,
    { type: 'Installed', status, ...(status === 'False' && { reason: 'InstallComponentFailed', message }) },
    now,
  ),
];

const step = (name: string, { spec }: Subscription, status: string) => ({
  resolving: name,
  status,
  resource: {
    group: 'operators.coreos.com',
    version: 'v1alpha1',
    kind: 'ClusterServiceVersion',
    name,
    sourceName: spec.source,
    sourceNamespace: spec.sourceNamespace,
    manifest: '',
  },
});
