import type { cdi, core, Pod } from '@slipway/api';

/** What an administrator says about all worker pods. */
export interface WorkerSettings {
  readonly config?: cdi.CDIConfig | undefined;
  /** `CDI.spec.workload`: where workers may run. */
  readonly placement?: cdi.CDI['spec']['workload'] | undefined;
}

type Spec = NonNullable<Pod['spec']>;
type Container = Spec['containers'][number];

/** The pod as the administrator wants workers: resources, verbosity, pull secrets, preallocation, proxy and place. */
export function withSettings(pod: Pod, { config, placement }: WorkerSettings): Pod {
  const { spec } = pod;
  if (spec === undefined) return pod;
  const { imagePullSecrets = [], logVerbosity } = config?.spec ?? {};
  // kinds of CDI are typed by their own schema, pods by Kubernetes'
  const place = { nodeSelector: placement?.nodeSelector, affinity: placement?.affinity } as Pick<
    Spec,
    'nodeSelector' | 'affinity'
  >;
  const tolerations = (placement?.tolerations ?? []) as NonNullable<Spec['tolerations']>;
  return {
    ...pod,
    spec: {
      ...spec,
      ...(place.nodeSelector && { nodeSelector: { ...place.nodeSelector, ...spec.nodeSelector } }),
      ...(place.affinity && { affinity: place.affinity }),
      ...(tolerations.length > 0 && { tolerations: [...(spec.tolerations ?? []), ...tolerations] }),
      ...(imagePullSecrets.length > 0 && { imagePullSecrets: imagePullSecrets.map(({ name }) => ({ name: name ?? '' })) }),
      containers: spec.containers.map((container) => ({
        ...container,
        ...(logVerbosity !== undefined && { args: [`-v=${logVerbosity}`] }),
        ...resourcesOf(config),
        env: environmentOf(container, config),
      })),
    },
  };
}

function resourcesOf(config: cdi.CDIConfig | undefined): Pick<Container, 'resources'> {
  const wanted = config?.status?.defaultPodResourceRequirements ?? config?.spec.podResourceRequirements;
  return wanted === undefined ? {} : { resources: wanted as NonNullable<Container['resources']> };
}

/** What the claim itself asks for stands; the cluster's preallocation is for those that say nothing. */
function environmentOf({ env = [] }: Container, config: cdi.CDIConfig | undefined): core.EnvVar[] {
  const preallocates = config?.status?.preallocation ?? config?.spec.preallocation ?? false;
  const isAsked = env.some(({ name }) => name === 'PREALLOCATION');
  return [...env, ...(isAsked ? [] : [{ name: 'PREALLOCATION', value: String(preallocates) }]), ...proxyEnvironment(config, env)];
}

/** Only who speaks to a source needs a way to it. */
function proxyEnvironment(config: cdi.CDIConfig | undefined, env: readonly core.EnvVar[]): core.EnvVar[] {
  if (!env.some(({ name }) => name === 'IMPORTER_ENDPOINT')) return [];
  const { HTTPProxy, HTTPSProxy, noProxy } = config?.spec.importProxy ?? {};
  const given: readonly (readonly [string, string | undefined])[] = [
    ['http_proxy', HTTPProxy],
    ['https_proxy', HTTPSProxy],
    ['no_proxy', noProxy],
  ];
  return given.flatMap(([name, value]) => (value ? [{ name, value }] : []));
}
