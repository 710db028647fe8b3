import { type FieldError, type UnstructuredObject, invalidValue, isObject, requiredValue } from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

type Fields = Record<string, unknown>;

interface Metric {
  type?: string;
  resource?: {
    name?: string;
    target?: { type?: string; averageUtilization?: number };
    current?: { averageUtilization?: number };
  };
}

interface Autoscaler {
  spec?: {
    minReplicas?: number;
    maxReplicas?: number;
    scaleTargetRef?: { kind?: string; name?: string };
    targetCPUUtilizationPercentage?: number;
    metrics?: Metric[];
    behavior?: { scaleUp?: Fields; scaleDown?: Fields };
  };
  status?: { currentReplicas?: number; currentCPUUtilizationPercentage?: number; currentMetrics?: Metric[] | null };
}

const DEFAULT_UTILIZATION = 80;
const ANNOTATION = 'autoscaling.alpha.kubernetes.io/';
/** What the older version has no fields for travels in annotations. */
const CARRIED = [
  ['metrics', 'spec', 'metrics'],
  ['behavior', 'spec', 'behavior'],
  ['conditions', 'status', 'conditions'],
  ['current-metrics', 'status', 'currentMetrics'],
] as const;

const isCpu = ({ type, resource }: Metric): boolean => type === 'Resource' && resource?.name === 'cpu';
const isCpuShare = (metric: Metric): boolean => isCpu(metric) && metric.resource?.target?.type === 'Utilization';

const cpuShare = (averageUtilization: number): Metric => ({
  type: 'Resource',
  resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization } },
});

/** The object of `autoscaling/v2`, which is stored, as `autoscaling/v1`. `object` is a private copy. */
export function toV1(object: UnstructuredObject): UnstructuredObject {
  const { spec = {}, status = {} } = typed<Autoscaler>(object);
  const { metrics = [], behavior, ...plain } = spec;
  const share = metrics.find(isCpuShare);
  const { currentMetrics, conditions, ...state } = status as Fields & { currentMetrics?: Metric[] | null };
  const current = currentMetrics?.find(isCpu)?.resource?.current?.averageUtilization;
  const target = share?.resource?.target?.averageUtilization;
  const carried: Readonly<Record<(typeof CARRIED)[number][0], unknown>> = {
    metrics: metrics.filter((metric) => metric !== share),
    behavior,
    conditions,
    'current-metrics': (currentMetrics ?? []).filter((metric) => !isCpu(metric)),
  };
  const annotations = Object.entries(carried).flatMap(([name, value]) =>
    value === undefined || (Array.isArray(value) && value.length === 0) ? [] : [[ANNOTATION + name, JSON.stringify(value)]],
  );
  if (annotations.length > 0)
    object.metadata.annotations = {
      ...object.metadata.annotations,
      ...(Object.fromEntries(annotations) as Record<string, string>),
    };
  object.apiVersion = 'autoscaling/v1';
  object['spec'] = { ...plain, ...(target !== undefined && { targetCPUUtilizationPercentage: target }) };
  object['status'] = {
    currentReplicas: 0,
    ...state,
    ...(current !== undefined && { currentCPUUtilizationPercentage: current }),
  };
  return object;
}

/** The other way round; annotations that cannot be read stay what they are. */
export function toV2(object: UnstructuredObject): UnstructuredObject {
  const { spec = {}, status = {} } = typed<Autoscaler>(object);
  const { targetCPUUtilizationPercentage: share, ...plain } = spec;
  const { currentCPUUtilizationPercentage: current, ...state } = status;
  const parts: Record<'spec' | 'status', Fields> = { spec: { ...plain }, status: { ...state } };
  for (const [name, part, field] of CARRIED) {
    const value = takeAnnotation(object, name);
    if (value !== undefined) parts[part][field] = value;
  }
  const { metrics } = parts.spec;
  if (share !== undefined) parts.spec['metrics'] = [cpuShare(share), ...(Array.isArray(metrics) ? (metrics as unknown[]) : [])];
  if (current !== undefined) {
    const metric = { type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: current } } };
    const others = parts.status['currentMetrics'];
    parts.status['currentMetrics'] = [metric, ...(Array.isArray(others) ? (others as unknown[]) : [])];
  }
  if (parts.status['currentReplicas'] === 0) delete parts.status['currentReplicas'];
  object.apiVersion = 'autoscaling/v2';
  object['spec'] = parts.spec;
  object['status'] = { currentMetrics: null, ...parts.status };
  return object;
}

function takeAnnotation({ metadata }: UnstructuredObject, name: string): unknown {
  const text = metadata.annotations?.[ANNOTATION + name];
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value) && !Array.isArray(value)) return undefined;
  const { [ANNOTATION + name]: _taken, ...rest } = metadata.annotations ?? {};
  if (Object.keys(rest).length > 0) metadata.annotations = rest;
  else delete metadata.annotations;
  return value;
}

const PERIOD = { periodSeconds: 15 };
const UP = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, ...PERIOD },
    { type: 'Percent', value: 100, ...PERIOD },
  ],
};
const DOWN = { selectPolicy: 'Max', policies: [{ type: 'Percent', value: 100, ...PERIOD }] };

function defaultAutoscaler(object: UnstructuredObject, version: 'v1' | 'v2'): void {
  const spec = (typed<Autoscaler>(object).spec ??= {});
  spec.minReplicas ??= 1;
  if (version === 'v1') return;
  if ((spec.metrics ?? []).length === 0) spec.metrics = [cpuShare(DEFAULT_UTILIZATION)];
  if (spec.behavior === undefined) return;
  spec.behavior.scaleUp = { ...structuredClone(UP), ...spec.behavior.scaleUp };
  spec.behavior.scaleDown = { ...structuredClone(DOWN), ...spec.behavior.scaleDown };
}

function validateAutoscaler(object: UnstructuredObject): FieldError[] {
  const { maxReplicas = 0, minReplicas = 1, scaleTargetRef } = typed<Autoscaler>(object).spec ?? {};
  const errors: FieldError[] = [];
  if (minReplicas < 1) errors.push(invalidValue('spec.minReplicas', minReplicas, 'must be greater than or equal to 1'));
  if (maxReplicas < 1) errors.push(invalidValue('spec.maxReplicas', maxReplicas, 'must be greater than 0'));
  if (maxReplicas < minReplicas)
    errors.push(invalidValue('spec.maxReplicas', maxReplicas, 'must be greater than or equal to `minReplicas`'));
  if (!scaleTargetRef?.kind) errors.push(requiredValue('spec.scaleTargetRef.kind'));
  if (!scaleTargetRef?.name) errors.push(requiredValue('spec.scaleTargetRef.name'));
  return errors;
}

function targetsText(object: UnstructuredObject): string {
  const { spec = {}, status = {} } = typed<Autoscaler>(object);
  const { metrics = [], targetCPUUtilizationPercentage } = spec;
  const share = targetCPUUtilizationPercentage ?? metrics.find(isCpuShare)?.resource?.target?.averageUtilization;
  if (share === undefined) return metrics.length > 0 ? '<unknown>' : '<none>';
  const current = status.currentCPUUtilizationPercentage ?? measuredShare(status.currentMetrics ?? []);
  const more = metrics.length > 1 ? ` + ${metrics.length - 1} more...` : '';
  return `${current === undefined ? '<unknown>' : `${current}%`}/${share}%${more}`;
}

const measuredShare = (metrics: readonly Metric[]): number | undefined =>
  metrics.find(isCpu)?.resource?.current?.averageUtilization;

const CONVERT = { v1: toV1, v2: toV2 };

/** HorizontalPodAutoscalers in one of their two versions. */
export const autoscalerKind = (version: 'v1' | 'v2'): BuiltinKind => ({
  group: 'autoscaling',
  version,
  kind: 'HorizontalPodAutoscaler',
  plural: 'horizontalpodautoscalers',
  definition: `autoscaling.${version}.HorizontalPodAutoscaler`,
  storageVersion: 'v2',
  // earlier versions of this server kept each object in the version it came in
  fromStorage: (object) => (object.apiVersion === `autoscaling/${version}` ? object : CONVERT[version](object)),
  ...(version === 'v1' && { toStorage: toV2 }),
  shortNames: ['hpa'],
  categories: ['all'],
  status: true,
  strategy: {
    default: (object) => defaultAutoscaler(object, version),
    prepareForCreate(object) {
      object['status'] =
        version === 'v1' ? { currentReplicas: 0, desiredReplicas: 0 } : { currentMetrics: null, desiredReplicas: 0 };
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: validateAutoscaler,
  },
  columns: [
    nameColumn,
    column('Reference', (object) => {
      const target = typed<Autoscaler>(object).spec?.scaleTargetRef;
      return `${target?.kind}/${target?.name}`;
    }),
    column('Targets', targetsText),
    column('MinPods', (object) => String(typed<Autoscaler>(object).spec?.minReplicas ?? '<unset>')),
    column('MaxPods', (object) => typed<Autoscaler>(object).spec?.maxReplicas ?? 0, { type: 'integer' }),
    column('Replicas', (object) => typed<Autoscaler>(object).status?.currentReplicas ?? 0, { type: 'integer' }),
    ageColumn,
  ],
});
