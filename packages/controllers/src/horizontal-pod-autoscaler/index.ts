import {
  type ConditionUpdate,
  type Condition,
  formatTime,
  type KubeObject,
  type ResourceKind,
  setCondition,
} from '@slipway/apimachinery';
import { type HorizontalPodAutoscaler, HorizontalPodAutoscalerKind } from '@slipway/api';
import { discoverKinds } from '@slipway/client';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  groupOf,
  specOrMetaChanged,
} from '@slipway/runtime';
import { writeStatus } from '../workload/write-status.ts';

type Status = NonNullable<HorizontalPodAutoscaler['status']>;

interface Scale extends KubeObject {
  spec?: { replicas?: number };
  status?: { replicas?: number };
}

/** Sizes of targets change without an event here. */
const RESYNC_MS = 15_000;
const NO_METRICS = 'the HPA was unable to compute the replica count: no metrics API is served by this cluster';

/** Keeps targets of autoscalers between their bounds, and says that there are no metrics to scale by. */
export const horizontalPodAutoscalerController: ControllerRegistration = {
  name: 'horizontal-pod-autoscaler',
  rules: [
    ...allow('update', [HorizontalPodAutoscalerKind, 'status']),
    { apiGroups: ['*'], resources: ['*/scale'], verbs: ['get', 'update'] },
  ],
  create(deps) {
    const { client, clock, informers } = deps;
    const autoscalers = informers.lister(HorizontalPodAutoscalerKind);
    return {
      kind: HorizontalPodAutoscalerKind,
      predicate: specOrMetaChanged,
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          const autoscaler = autoscalers.get(key);
          if (autoscaler === undefined || autoscaler.metadata.deletionTimestamp) return done;
          const status = await scaleTarget(deps, autoscaler, signal);
          await writeStatus(client, HorizontalPodAutoscalerKind, autoscaler, timed(autoscaler, status, clock.now()), signal);
          return after(RESYNC_MS);
        },
      },
    };
  },
};

interface Outcome {
  readonly currentReplicas?: number;
  readonly desiredReplicas: number;
  readonly conditions: readonly ConditionUpdate[];
  readonly isRescaled?: boolean;
}

const problem = (type: string, reason: string, message: string): ConditionUpdate => ({ type, status: 'False', reason, message });

async function scaleTarget(deps: ControllerDeps, autoscaler: HorizontalPodAutoscaler, signal: AbortSignal): Promise<Outcome> {
  const path = await scalePath(deps, autoscaler, signal);
  const answer = path === undefined ? undefined : await deps.client.raw({ method: 'GET', path, signal });
  if (path === undefined || answer?.status !== 200) return withoutScale(deps, autoscaler);
  return rescale(deps, autoscaler, path, answer.body as Scale, signal); // the answer of a scale subresource
}

function withoutScale({ events }: ControllerDeps, autoscaler: HorizontalPodAutoscaler): Outcome {
  const { kind, name } = autoscaler.spec?.scaleTargetRef ?? {};
  const message = `the HPA controller was unable to get the target's current scale: ${kind} "${name}" has none`;
  events.warning(autoscaler, 'FailedGetScale', message);
  return { desiredReplicas: 0, conditions: [problem('AbleToScale', 'FailedGetScale', message)] };
}

const ABLE = {
  type: 'AbleToScale',
  status: 'True',
  reason: 'SucceededGetScale',
  message: "the HPA controller was able to get the target's current scale",
} as const;

async function rescale(
  { client, events }: ControllerDeps,
  autoscaler: HorizontalPodAutoscaler,
  path: string,
  scale: Scale,
  signal: AbortSignal,
): Promise<Outcome> {
  const { minReplicas = 1, maxReplicas = 1 } = autoscaler.spec ?? {};
  const current = scale.spec?.replicas ?? 0;
  if (current === 0) {
    const off = problem('ScalingActive', 'ScalingDisabled', 'scaling is disabled since the replica count of the target is zero');
    return { currentReplicas: 0, desiredReplicas: 0, conditions: [ABLE, off] };
  }
  const desired = Math.min(maxReplicas, Math.max(minReplicas, current));
  const noMetrics = problem('ScalingActive', 'FailedGetResourceMetric', NO_METRICS);
  if (desired === current) return { currentReplicas: current, desiredReplicas: current, conditions: [ABLE, noMetrics] };
  const body = { ...scale, spec: { ...scale.spec, replicas: desired } };
  const written = await client.raw({ method: 'PUT', path, headers: { 'content-type': 'application/json' }, body, signal });
  if (written.status !== 200) throw new Error(`Cannot scale ${path}: ${written.status}`);
  const bound = desired > current ? 'below Spec.MinReplicas' : 'above Spec.MaxReplicas';
  events.normal(autoscaler, 'SuccessfulRescale', `New size: ${desired}; reason: Current number of replicas ${bound}`);
  return { currentReplicas: current, desiredReplicas: desired, conditions: [ABLE, noMetrics], isRescaled: true };
}

/** Path of the target's scale; undefined when its kind is not served. */
async function scalePath({ client }: ControllerDeps, { metadata, spec }: HorizontalPodAutoscaler, signal: AbortSignal) {
  const { apiVersion = '', kind, name } = spec?.scaleTargetRef ?? {};
  const group = groupOf(apiVersion);
  const kinds: readonly ResourceKind<KubeObject>[] = await discoverKinds(client, signal);
  const found = kinds.find((candidate) => candidate.kind === kind && candidate.group === group);
  if (found === undefined) return undefined;
  const root = group === '' ? '/api/v1' : `/apis/${group}/${found.version}`;
  return `${root}/namespaces/${metadata.namespace}/${found.plural}/${name}/scale`;
}

function timed(autoscaler: HorizontalPodAutoscaler, outcome: Outcome, nowMs: number): Status {
  const now = formatTime(nowMs);
  // conditions of this kind have a plain string for their status
  let conditions = (autoscaler.status?.conditions ?? []) as readonly Condition[];
  for (const condition of outcome.conditions) conditions = setCondition(conditions, condition, now);
  const lastScaleTime = outcome.isRescaled ? now : autoscaler.status?.lastScaleTime;
  return {
    observedGeneration: autoscaler.metadata.generation ?? 0,
    ...(lastScaleTime && { lastScaleTime }),
    currentReplicas: outcome.currentReplicas ?? 0,
    desiredReplicas: outcome.desiredReplicas,
    currentMetrics: null as unknown as NonNullable<Status['currentMetrics']>, // the API server writes null here
    conditions: [...conditions] as NonNullable<Status['conditions']>,
  };
}
