import { type DataImportCron, DataImportCronKind, type Pod } from '@slipway/api';
import { controllerReference } from '@slipway/apimachinery';
import { CronLabel, LABELS } from '../constants.ts';
import { importAnnotations } from '../import/import-annotations.ts';
import { sourcePod } from '../import/importer-pod.ts';
import { sourceOf } from './import-plan.ts';

const MAX_NAME = 253;
const UID_LETTERS = 8;

/** `poller-<cron>-<first 8 of its UID>`, cut for names that are too long. */
export function pollerName({ metadata }: DataImportCron): string {
  const suffix = `-${metadata.uid?.slice(0, UID_LETTERS)}`;
  return `poller-${metadata.name}`.slice(0, MAX_NAME - suffix.length) + suffix;
}

/**
 * A worker without a disk that asks the source for its present state. It runs in the cron's namespace, where its Secret
 * and its ConfigMap are. KubeVirt-compat: CDI runs a CronJob in its own namespace, so that both have to be copied there.
 */
export function pollerPod(cron: DataImportCron): Pod {
  const pod = sourcePod(importAnnotations(sourceOf(cron)));
  return {
    ...pod,
    metadata: {
      name: pollerName(cron),
      namespace: cron.metadata.namespace ?? '',
      labels: { ...LABELS, 'cdi.kubevirt.io': 'poller', [CronLabel.poller]: cron.metadata.name ?? '' },
      ownerReferences: [controllerReference(cron, DataImportCronKind)],
    },
    spec: { ...pod.spec, containers: [...pod.spec.containers] },
  };
}

/** What a poller found: nothing yet, the state of the source, or why it could not tell (it tries again by itself). */
export function pollAnswer(pod: Pod): { readonly digest?: string; readonly error?: string } {
  const { state = {}, lastState = {} } = pod.status?.containerStatuses?.[0] ?? {};
  if (pod.status?.phase === 'Succeeded') {
    const digest = digestIn(state.terminated?.message ?? '');
    return digest === undefined ? { error: 'the poller said nothing that can be understood' } : { digest };
  }
  const error = [lastState.terminated, state.terminated, state.waiting].find((ended) => ended?.message)?.message;
  return error === undefined ? {} : { error };
}

function digestIn(message: string): string | undefined {
  try {
    const { digest } = JSON.parse(message) as { digest?: unknown };
    return typeof digest === 'string' && /^sha256:[0-9a-f]{64}$/.test(digest) ? digest : undefined;
  } catch {
    return undefined; // not the answer of a poller
  }
}
