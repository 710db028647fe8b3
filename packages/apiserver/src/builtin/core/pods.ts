import type { Pod, core } from '@slipway/api';
import type { UnstructuredObject } from '@slipway/apimachinery';
import type { ResourceStrategy } from '../../registry/resource-definition.ts';
import { imagesText, namesText, selectorText } from '../apps/workload.ts';
import { type BuiltinKind, column, nameColumn, typed } from '../define.ts';
import { fillMissing } from '../fill.ts';
import { podWarnings } from './pod-warnings.ts';
import { defaultPodSpec, defaultPodTemplate, qosClassOf } from './pod-defaults.ts';
import { podColumns, podRowConditions } from './pod-table.ts';
import { validatePodUpdate } from './pod-update.ts';
import { validatePodSpec } from './pod-validation.ts';

const asPod = (object: UnstructuredObject): Pod => object as unknown as Pod; // served as this kind
const DEFAULT_GRACE_SECONDS = 30;

/** Times that the API server writes as null when they are unknown. */
type NullableTimes = { lastProbeTime?: string | null; lastTransitionTime?: string | null };

/** Bound pods get time to stop; unbound and finished ones have nothing to stop. */
function graceSeconds(pod: Pod, requested: number | undefined): number {
  const wanted = requested ?? pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
  const bound = Boolean(pod.spec?.nodeName);
  const finished = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  if (!bound || finished || wanted === 0) return 0;
  return wanted < 0 ? 1 : wanted;
}

const podStrategy: ResourceStrategy = {
  default(object) {
    const pod = asPod(object);
    if (pod.spec !== undefined) defaultPodSpec(pod.spec, false);
    for (const condition of pod.status?.conditions ?? [])
      fillMissing<NullableTimes>(condition, { lastProbeTime: null, lastTransitionTime: null });
  },
  prepareForCreate(object) {
    const pod = asPod(object);
    pod.status = { phase: 'Pending', ...(pod.spec && { qosClass: qosClassOf(pod.spec) }) };
  },
  prepareForUpdate(object, old, { subresource }) {
    // a binding comes with its condition
    if (subresource !== 'binding') object['status'] = old['status'];
  },
  validate: (object) => validatePodSpec(asPod(object).spec, 'spec'),
  validateUpdate(next, old, { subresource }) {
    const [spec, before] = [asPod(next).spec, asPod(old).spec];
    // only the server itself makes that one change, the node's name
    if (subresource === 'binding') return [];
    return spec === undefined || before === undefined ? [] : validatePodUpdate(spec, before);
  },
  warnings: (object) => podWarnings(asPod(object).spec, 'spec'),
  graceful: (object, requested) => ({ gracePeriodSeconds: graceSeconds(asPod(object), requested) }),
  deleteReturnsObject: true,
};

export const podKind: BuiltinKind = {
  kind: 'Pod',
  plural: 'pods',
  definition: 'core.v1.Pod',
  shortNames: ['po'],
  categories: ['all'],
  status: true,
  custom: [
    { name: 'attach', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
    { name: 'binding', kind: 'Binding', verbs: ['create'] },
    { name: 'ephemeralcontainers', kind: 'Pod', verbs: ['get', 'patch', 'update'] },
    { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
    { name: 'exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
    { name: 'log', kind: 'Pod', verbs: ['get'] },
    { name: 'portforward', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
    {
      name: 'proxy',
      kind: 'PodProxyOptions',
      verbs: ['create', 'delete', 'get', 'patch', 'update'],
    },
  ],
  strategy: podStrategy,
  columns: podColumns,
  rowConditions: podRowConditions,
  selectableFields(object) {
    const { spec, status } = asPod(object);
    return {
      'spec.nodeName': spec?.nodeName ?? '',
      'spec.restartPolicy': spec?.restartPolicy ?? '',
      'spec.schedulerName': spec?.schedulerName ?? '',
      'spec.serviceAccountName': spec?.serviceAccountName ?? '',
      'status.phase': status?.phase ?? '',
      'status.podIP': status?.podIP ?? '',
      'status.nominatedNodeName': status?.nominatedNodeName ?? '',
    };
  },
};

const templateOf = (object: UnstructuredObject) => typed<{ template?: core.PodTemplateSpec }>(object).template;

export const podTemplateKind: BuiltinKind = {
  kind: 'PodTemplate',
  plural: 'podtemplates',
  definition: 'core.v1.PodTemplate',
  strategy: {
    hasGeneration: true,
    deleteReturnsObject: true,
    generationBumps: (next, old) => JSON.stringify(next['template']) !== JSON.stringify(old['template']),
    default: (object) => defaultPodTemplate(object['template'] as Parameters<typeof defaultPodTemplate>[0]), // served as this kind
    validate: (object) => validatePodSpec((object['template'] as { spec?: Pod['spec'] } | undefined)?.spec, 'template.spec'),
  },
  columns: [
    nameColumn,
    column('Containers', (object) => namesText(templateOf(object)?.spec?.containers ?? [])),
    column('Images', (object) => imagesText(templateOf(object)?.spec?.containers ?? [])),
    column('Pod Labels', (object) => selectorText({ matchLabels: templateOf(object)?.metadata?.labels ?? {} })),
  ],
};
