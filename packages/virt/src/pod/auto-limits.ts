import type { kubevirt, ResourceQuota } from '@slipway/api';
import { type LabelSelectorObject, matchesLabels, selectorOf } from '@slipway/apimachinery';
import type { LauncherContext } from './context.ts';

const RATIO_LABEL = 'alpha.kubevirt.io/auto-memory-limits-ratio';
const DEFAULT_RATIO = 2;

/** The namespace of a pod, as far as it decides about limits. */
export interface PodNamespace {
  readonly labels: Readonly<Record<string, string>>;
  readonly quotas: readonly Pick<ResourceQuota, 'spec'>[];
}

/**
 * Limits that a pod must have although its author set none: a quota of limits refuses pods without them, and an
 * administrator may want CPU limits in some namespaces.
 */
export function autoLimits(
  { labels, quotas }: PodNamespace,
  configuration: kubevirt.KubeVirtConfiguration,
): NonNullable<LauncherContext['autoLimits']> {
  const bounded = new Set(quotas.flatMap(({ spec }) => Object.keys(spec?.hard ?? {})));
  const wanted = configuration.autoCPULimitNamespaceLabelSelector as LabelSelectorObject | undefined; // published type differs in optionality only
  const selector = wanted && selectorOf(wanted);
  const ratio = Number(labels[RATIO_LABEL]);
  return {
    cpu: bounded.has('limits.cpu') || (selector !== undefined && matchesLabels(selector, labels)),
    ...(bounded.has('limits.memory') && { memoryRatio: ratio >= 1 ? ratio : DEFAULT_RATIO }),
  };
}
