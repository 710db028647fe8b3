import { isNotFound } from '@slipway/apimachinery';
import { NodeKind, type Pod, PodKind } from '@slipway/api';
import { allow, after, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { isFinished } from '../scheduler/resources.ts';

/** A node object may be made again by its agent; its pods wait this long for it. */
const QUARANTINE_MS = 40_000;
const MAX_FINISHED = 12_500;
const BY_NODE = 'pod-gc/node';

/** Removes pods that nobody else will: those of nodes that are gone, and too many finished ones. */
export const podGcController: ControllerRegistration = {
  name: 'pod-garbage-collector',
  rules: [...allow('delete', PodKind)],
  create({ client, clock, informers, log }) {
    const pods = informers.for(PodKind);
    const nodes = informers.lister(NodeKind);
    const goneSince = new Map<string, number>();
    pods.addIndex(BY_NODE, (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));

    const remove = async ({ metadata }: Pod, why: string, signal: AbortSignal): Promise<void> => {
      const { namespace = '', name = '', uid = '' } = metadata;
      log.info({ pod: `${namespace}/${name}`, why }, 'removing pod');
      try {
        await client.delete(PodKind, { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid }, signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    };

    const removeExcess = async (signal: AbortSignal): Promise<void> => {
      if (pods.lister.size <= MAX_FINISHED) return;
      const finished = pods.lister.list().filter(isFinished);
      const oldestFirst = finished.sort((a, b) =>
        (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? ''),
      );
      for (const pod of oldestFirst.slice(0, Math.max(0, finished.length - MAX_FINISHED)))
        await remove(pod, 'too many finished pods', signal);
    };

    return {
      kind: PodKind,
      watches: [
        watchOf(
          NodeKind,
          ({ metadata }) =>
            pods.lister
              .byIndex(BY_NODE, metadata.name ?? '')
              .map((pod) => ({ namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '' })),
          ({ type }) => type !== 'updated',
        ),
      ],
      predicate: ({ type }) => type !== 'deleted',
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          await removeExcess(signal);
          const pod = pods.lister.get(key);
          if (pod === undefined) return done;
          const { nodeName } = pod.spec ?? {};
          if (!nodeName) return done;
          if (nodes.get({ namespace: '', name: nodeName })) {
            goneSince.delete(nodeName);
            return done;
          }
          const since = goneSince.get(nodeName) ?? clock.now();
          goneSince.set(nodeName, since);
          const leftMs = since + QUARANTINE_MS - clock.now();
          if (leftMs > 0) return after(leftMs);
          await remove(pod, 'its node is gone', signal);
          return done;
        },
      },
    };
  },
};
