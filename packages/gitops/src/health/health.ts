import { isObject, type KubeObject } from '@slipway/apimachinery';
import type { Health, HealthCode } from '../kinds.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Best first. */
const ORDER: readonly HealthCode[] = ['Healthy', 'Suspended', 'Progressing', 'Missing', 'Degraded', 'Unknown'];

export const worstOf = (codes: readonly HealthCode[]): HealthCode =>
  codes.reduce<HealthCode>((worst, code) => (ORDER.indexOf(code) > ORDER.indexOf(worst) ? code : worst), 'Healthy');

const fieldsOf = (value: unknown): Fields => (isObject(value) ? value : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
const health = (status: HealthCode, message?: string): Health => ({ status, ...(message && { message }) });

/** How an object is, by the rules of its kind; undefined for kinds that have none. */
export function healthOf(object: KubeObject): Health | undefined {
  if (object.metadata.deletionTimestamp !== undefined) return health('Progressing', 'Pending deletion');
  const group = (object.apiVersion ?? '').includes('/') ? (object.apiVersion ?? '').split('/')[0] : '';
  const key = `${group}/${object.kind}`;
  const rule = Object.hasOwn(RULES, key) ? RULES[key] : undefined;
  if (rule === undefined) return undefined;
  // read by field, whatever the kind
  const { spec, status } = object as KubeObject & { spec?: unknown; status?: unknown };
  return rule({ spec: fieldsOf(spec), status: fieldsOf(status), metadata: object.metadata });
}

interface Parts {
  readonly spec: Fields;
  readonly status: Fields;
  readonly metadata: KubeObject['metadata'];
}

function condition(status: Fields, type: string): Fields | undefined {
  const list = Array.isArray(status['conditions']) ? status['conditions'] : [];
  return list.filter(isObject).find((entry) => entry['type'] === type);
}

const isConditionTrue = (status: Fields, type: string): boolean => condition(status, type)?.['status'] === 'True';

function virtualMachine({ status }: Parts): Health {
  const printable = text(status['printableStatus']);
  const found = ((): Health => {
    if (isConditionTrue(status, 'Paused')) return health('Suspended', 'Paused');
    const ready = condition(status, 'Ready');
    if (ready === undefined) return health('Progressing');
    if (ready['status'] === 'True') return health('Healthy', 'Running');
    return status['created'] === true ? health('Progressing', 'Starting') : health('Suspended', 'Stopped');
  })();
  return health(found.status, printable || found.message);
}

function instance({ status }: Parts): Health {
  const phase = text(status['phase']);
  if (phase === 'Failed') return health('Degraded', 'Failed');
  if (['Pending', 'Scheduling', 'Scheduled'].includes(phase)) return health('Progressing', phase);
  if (phase === 'Succeeded') return health('Suspended', 'Succeeded');
  if (phase === 'Unknown') return health('Unknown', 'Unknown');
  if (isConditionTrue(status, 'Paused')) return health('Suspended', 'Paused');
  if (isConditionTrue(status, 'Ready')) return health('Healthy', 'Running');
  return condition(status, 'Ready') ? health('Degraded', text(condition(status, 'Ready')?.['message'])) : health('Progressing');
}

function dataVolume({ status }: Parts): Health {
  const phase = text(status['phase']);
  if (phase === 'Succeeded') return health('Healthy', phase);
  if (phase === 'Failed' || phase === 'Unknown') return health('Degraded', phase);
  if (phase === 'Paused') return health('Suspended', phase);
  const running = condition(status, 'Running');
  if (running?.['status'] === 'False' && running['reason'] === 'Error') return health('Degraded', text(running['message']));
  return health('Progressing', phase);
}

function claim({ status }: Parts): Health {
  const phase = text(status['phase']);
  const codes: Readonly<Record<string, HealthCode>> = { Bound: 'Healthy', Pending: 'Progressing', Lost: 'Degraded' };
  return health(codes[phase] ?? 'Unknown');
}

function deployment({ spec, status, metadata }: Parts): Health {
  if (spec['paused'] === true) return health('Suspended', 'Deployment is paused');
  if (count(status['observedGeneration']) < (metadata.generation ?? 0))
    return health('Progressing', 'Waiting for rollout to finish: observed deployment generation less than desired generation');
  if (condition(status, 'Progressing')?.['reason'] === 'ProgressDeadlineExceeded')
    return health('Degraded', `Deployment ${JSON.stringify(metadata.name)} exceeded its progress deadline`);
  const wanted = typeof spec['replicas'] === 'number' ? spec['replicas'] : 1;
  const [updated, all, available] = [
    count(status['updatedReplicas']),
    count(status['replicas']),
    count(status['availableReplicas']),
  ];
  if (updated < wanted || all > updated || available < updated)
    return health('Progressing', `Waiting for rollout to finish: ${available} of ${wanted} updated replicas are available...`);
  return health('Healthy');
}

function statefulSet({ spec, status, metadata }: Parts): Health {
  if (count(status['observedGeneration']) < (metadata.generation ?? 0))
    return health('Progressing', 'Waiting for statefulset spec update to be observed...');
  if (fieldsOf(spec['updateStrategy'])['type'] === 'OnDelete') return health('Healthy');
  const wanted = typeof spec['replicas'] === 'number' ? spec['replicas'] : 1;
  if (count(status['readyReplicas']) < wanted)
    return health('Progressing', `Waiting for ${wanted - count(status['readyReplicas'])} pods to be ready...`);
  return status['updateRevision'] === status['currentRevision']
    ? health('Healthy')
    : health('Progressing', 'waiting for statefulset rolling update to complete');
}

function daemonSet({ spec, status, metadata }: Parts): Health {
  if (count(status['observedGeneration']) < (metadata.generation ?? 0))
    return health('Progressing', 'Waiting for rollout to finish');
  if (fieldsOf(spec['updateStrategy'])['type'] === 'OnDelete') return health('Healthy');
  const wanted = count(status['desiredNumberScheduled']);
  const isDone = count(status['updatedNumberScheduled']) >= wanted && count(status['numberAvailable']) >= wanted;
  return isDone ? health('Healthy') : health('Progressing', 'Waiting for daemon set rollout to finish');
}

function pod({ spec, status, metadata }: Parts): Health {
  const containers = Array.isArray(status['containerStatuses']) ? status['containerStatuses'].filter(isObject) : [];
  for (const container of containers) {
    const waiting = fieldsOf(fieldsOf(container['state'])['waiting']);
    if (/^Err|(?:Error|BackOff)$/.test(text(waiting['reason']))) return health('Degraded', text(waiting['message']));
  }
  switch (text(status['phase'])) {
    case 'Pending':
      return health('Progressing');
    case 'Succeeded':
      return health('Healthy');
    case 'Failed':
      return health('Degraded', text(status['message']));
    case 'Running': {
      const isLongRunning =
        metadata.annotations?.['argocd.argoproj.io/ignore-restart-policy'] === 'true' ||
        !['Never', 'OnFailure'].includes(text(spec['restartPolicy']));
      return isLongRunning && isConditionTrue(status, 'Ready') ? health('Healthy') : health('Progressing');
    }
    default:
      return health('Unknown');
  }
}

function job({ spec, status }: Parts): Health {
  if (isConditionTrue(status, 'Failed')) return health('Degraded', text(condition(status, 'Failed')?.['message']));
  if (isConditionTrue(status, 'Complete')) return health('Healthy');
  return spec['suspend'] === true || isConditionTrue(status, 'Suspended') ? health('Suspended') : health('Progressing');
}

const hasIngress = (status: Fields): boolean => {
  const list = fieldsOf(status['loadBalancer'])['ingress'];
  return Array.isArray(list) && list.length > 0;
};

const RULES: Readonly<Record<string, (parts: Parts) => Health>> = {
  'kubevirt.io/VirtualMachine': virtualMachine,
  'kubevirt.io/VirtualMachineInstance': instance,
  'cdi.kubevirt.io/DataVolume': dataVolume,
  '/PersistentVolumeClaim': claim,
  '/Pod': pod,
  '/Service': ({ spec, status }) => health(spec['type'] === 'LoadBalancer' && !hasIngress(status) ? 'Progressing' : 'Healthy'),
  'apps/Deployment': deployment,
  'apps/StatefulSet': statefulSet,
  'apps/DaemonSet': daemonSet,
  'apps/ReplicaSet': ({ spec, status }) =>
    health(
      count(status['availableReplicas']) < (typeof spec['replicas'] === 'number' ? spec['replicas'] : 1)
        ? 'Progressing'
        : 'Healthy',
    ),
  'batch/Job': job,
  'networking.k8s.io/Ingress': ({ status }) => health(hasIngress(status) ? 'Healthy' : 'Progressing'),
  'apiregistration.k8s.io/APIService': ({ status }) => health(isConditionTrue(status, 'Available') ? 'Healthy' : 'Progressing'),
};
