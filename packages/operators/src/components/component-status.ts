import { type Condition, deepEqual, formatTime, type KubeObject, type ResourceKind, setCondition } from '@slipway/apimachinery';
import { type ControllerDeps, done, type Lister, type Reconciler } from '@slipway/runtime';

type Update = Omit<Condition, 'lastTransitionTime'>;

export interface ComponentStatus {
  readonly conditions: readonly Update[];
  /** Fields of the status beside the conditions. */
  readonly fields: Readonly<Record<string, unknown>>;
}

type WithStatus = KubeObject & { status?: { conditions?: Condition[] } };

/** Writes the status that a function finds, when it differs. */
export function statusReconciler<T extends KubeObject>(
  kind: ResourceKind<T>,
  { client, clock, informers }: ControllerDeps,
  statusOf: (object: T, signal: AbortSignal) => Promise<ComponentStatus>,
): Reconciler {
  const lister: Lister<T> = informers.lister(kind);
  return {
    async reconcile(key, signal) {
      const object: (T & WithStatus) | undefined = lister.get(key);
      if (object === undefined || object.metadata.deletionTimestamp) return done;
      const { conditions: updates, fields } = await statusOf(object, signal);
      const now = formatTime(clock.now());
      const before: readonly Condition[] = object.status?.conditions ?? [];
      const conditions = updates.reduce((all, update) => setCondition(all, update, now), before);
      const status = { ...object.status, ...fields, conditions };
      if (!deepEqual(status, object.status)) await client.update(kind, { ...object, status }, { subresource: 'status', signal });
      return done;
    },
  };
}

/** Available, Progressing and Degraded of a component that works. */
export const healthy = (reason: string, message: string): readonly Update[] => [
  { type: 'Available', status: 'True', reason, message },
  { type: 'Progressing', status: 'False', reason, message },
  { type: 'Degraded', status: 'False', reason, message },
];
