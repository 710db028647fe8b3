import type { core, Job, Pod } from '@slipway/api';

type Policy = NonNullable<NonNullable<Job['spec']>['podFailurePolicy']>;
type Rule = Policy['rules'][number];
type ExitCodes = NonNullable<Rule['onExitCodes']>;

/** What a Job's failure policy says of a failed pod. */
export interface FailureVerdict {
  /** `FailJob`, `Ignore` or `Count`. */
  readonly action: string;
  readonly message: string;
}

/** The first rule that a failed pod matches decides; undefined: none does, so that it counts as usual. */
export function failureVerdict(policy: Policy | undefined, pod: Pod): FailureVerdict | undefined {
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  for (const [at, { action, onExitCodes, onPodConditions }] of (policy?.rules ?? []).entries()) {
    const rule = `matching ${action} rule at index ${at}`;
    const container = onExitCodes && failedContainer(pod, onExitCodes);
    if (container) {
      const code = container.state?.terminated?.exitCode;
      return { action, message: `Container ${container.name} for pod ${name} failed with exit code ${code} ${rule}` };
    }
    const condition = pod.status?.conditions?.find(({ type, status }) =>
      onPodConditions?.some((pattern) => pattern.type === type && (pattern.status || 'True') === status),
    );
    if (condition) return { action, message: `Pod ${name} has condition ${condition.type} ${rule}` };
  }
  return undefined;
}

function failedContainer({ status }: Pod, wanted: ExitCodes): core.ContainerStatus | undefined {
  const all = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])];
  return all.find(({ name, state }) => {
    const code = state?.terminated?.exitCode;
    if (code === undefined || code === 0 || (wanted.containerName && wanted.containerName !== name)) return false;
    return wanted.values.includes(code) === (wanted.operator === 'In');
  });
}
