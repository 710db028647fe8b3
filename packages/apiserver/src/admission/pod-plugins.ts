import { type UnstructuredObject, forbidden, isObject } from '@slipway/apimachinery';
import type { RbacSource } from '../authz/rbac.ts';
import type { AdmissionPlugin } from './admission-chain.ts';

interface Container {
  name: string;
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
}

/** The parts of a pod's spec that plug-ins look at; validation checks the rest later. */
interface PodSpec {
  serviceAccountName?: string;
  serviceAccount?: string;
  automountServiceAccountToken?: boolean;
  imagePullSecrets?: unknown[];
  containers?: Container[];
  initContainers?: Container[];
  volumes?: Record<string, unknown>[];
  tolerations?: { key?: string; operator?: string; effect?: string; tolerationSeconds?: number }[];
  priorityClassName?: string;
  priority?: number;
  preemptionPolicy?: string;
}

const specOf = (pod: UnstructuredObject): PodSpec | undefined => (isObject(pod['spec']) ? (pod['spec'] as PodSpec) : undefined);

const isPodCreate = (request: { operation: string; group: string; resource: string; subresource: string }): boolean =>
  request.operation === 'CREATE' && request.group === '' && request.resource === 'pods' && request.subresource === '';

const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
const TOKEN_SECONDS = 3607;
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** Gives pods a service account and its token volume. */
export function serviceAccountPlugin(source: RbacSource, randomSuffix: () => string): AdmissionPlugin {
  return {
    name: 'ServiceAccount',
    mutate(pod, request) {
      const spec = specOf(pod);
      if (!isPodCreate(request) || spec === undefined || pod.metadata.annotations?.[MIRROR_ANNOTATION] !== undefined) return;
      const name = spec.serviceAccountName || spec.serviceAccount || 'default';
      const account = source.lookup('', 'serviceaccounts', request.namespace, name);
      if (account === undefined) {
        // the default account comes with the namespace, a moment later; platform pods use none
        if (name === 'default') return;
        throw forbidden(
          { resource: 'pods', group: '' },
          pod.metadata.name ?? '',
          `error looking up service account ${request.namespace}/${name}: serviceaccount "${name}" not found`,
        );
      }
      spec.serviceAccountName = name;
      spec.serviceAccount = name;
      inheritPullSecrets(spec, account['imagePullSecrets']);
      const mounts = spec.automountServiceAccountToken ?? account['automountServiceAccountToken'] ?? true;
      if (mounts === true) mountToken(spec, `kube-api-access-${randomSuffix()}`);
    },
  };
}

function inheritPullSecrets(spec: PodSpec, secrets: unknown): void {
  if ((spec.imagePullSecrets?.length ?? 0) > 0 || !Array.isArray(secrets) || secrets.length === 0) return;
  spec.imagePullSecrets = [...secrets];
}

function mountToken(spec: PodSpec, generatedName: string): void {
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const existing = (spec.volumes ?? []).find(({ name }) => String(name).startsWith('kube-api-access-'));
  const name = existing === undefined ? generatedName : String(existing['name']);
  let isUsed = false;
  for (const container of containers) {
    if (container.volumeMounts?.some(({ mountPath }) => mountPath === MOUNT_PATH)) continue;
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: MOUNT_PATH }];
    isUsed = true;
  }
  if (!isUsed || existing !== undefined) return;
  spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
}

const tokenVolume = (name: string): Record<string, unknown> => ({
  name,
  projected: {
    sources: [
      { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
    ],
    defaultMode: 420,
  },
});

const LOST_NODE_TAINTS = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];

/** Pods stay for five minutes on a node that is lost, unless they say otherwise. */
export function defaultTolerationSecondsPlugin(): AdmissionPlugin {
  return {
    name: 'DefaultTolerationSeconds',
    mutate(pod, request) {
      const spec = specOf(pod);
      if (!isPodCreate(request) || spec === undefined) return;
      const tolerations = spec.tolerations ?? [];
      const missing = LOST_NODE_TAINTS.filter(
        (taint) => !tolerations.some(({ key, effect }) => (!key || key === taint) && (!effect || effect === 'NoExecute')),
      );
      if (missing.length === 0) return;
      const added = missing.map((key) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }));
      spec.tolerations = [...tolerations, ...added];
    },
  };
}

const SYSTEM_PRIORITIES: Readonly<Record<string, number>> = {
  'system-node-critical': 2_000_001_000,
  'system-cluster-critical': 2_000_000_000,
};

/** Turns the name of a priority class into its number. */
export function priorityPlugin(source: RbacSource): AdmissionPlugin {
  return {
    name: 'Priority',
    mutate(pod, request) {
      const spec = specOf(pod);
      if (!isPodCreate(request) || spec === undefined) return;
      const priorityClass = classOf(source, spec);
      if (priorityClass === undefined) {
        throw forbidden(
          { resource: 'pods', group: '' },
          pod.metadata.name ?? '',
          `no PriorityClass with name ${spec.priorityClassName} was found`,
        );
      }
      if (spec.priority !== undefined && spec.priority !== priorityClass.value) {
        throw forbidden(
          { resource: 'pods', group: '' },
          pod.metadata.name ?? '',
          `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${priorityClass.value} from the given PriorityClass name`,
        );
      }
      if (priorityClass.name !== '') spec.priorityClassName = priorityClass.name;
      spec.priority = priorityClass.value;
      spec.preemptionPolicy ??= priorityClass.preemptionPolicy;
    },
  };
}

interface EffectivePriority {
  readonly name: string;
  readonly value: number;
  readonly preemptionPolicy: string;
}

function classOf(source: RbacSource, { priorityClassName }: PodSpec): EffectivePriority | undefined {
  const effective = (object: UnstructuredObject): EffectivePriority => ({
    name: object.metadata.name ?? '',
    value: Number(object['value'] ?? 0),
    preemptionPolicy: typeof object['preemptionPolicy'] === 'string' ? object['preemptionPolicy'] : 'PreemptLowerPriority',
  });
  if (priorityClassName) {
    const named = source.lookup('scheduling.k8s.io', 'priorityclasses', '', priorityClassName);
    if (named !== undefined) return effective(named);
    const value = SYSTEM_PRIORITIES[priorityClassName];
    return value === undefined ? undefined : { name: priorityClassName, value, preemptionPolicy: 'PreemptLowerPriority' };
  }
  const defaults = source.lookupAll('scheduling.k8s.io', 'priorityclasses').filter((object) => object['globalDefault'] === true);
  const [first] = defaults.map(effective).sort((a, b) => a.value - b.value);
  return first ?? { name: '', value: 0, preemptionPolicy: 'PreemptLowerPriority' };
}
