import type { core } from '@slipway/api';
import { controllerOf, deepEqual, invalidValue, type FieldError } from '@slipway/apimachinery';
import { validateClaimSpec } from '../core/volumes.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { validateDaemonSetRollout, validateDeploymentRollout, validateStatefulSetRollout } from './rollout-rules.ts';
import {
  type Workload,
  type WorkloadSpec,
  containersColumn,
  imagesColumn,
  selectorColumn,
  selectorText,
  statusNumber,
  wantedReplicas,
  workloadKind,
} from './workload.ts';

type Strategy = { type?: string; rollingUpdate?: Record<string, unknown> };

const REVISION_LIMIT = 10;

function rollingUpdate(spec: WorkloadSpec, field: string, defaults: Readonly<Record<string, unknown>>): void {
  const strategy = (spec[field] ??= {}) as Strategy; // an object by schema
  strategy.type ??= 'RollingUpdate';
  if (strategy.type === 'RollingUpdate') strategy.rollingUpdate = { ...defaults, ...strategy.rollingUpdate };
}

export const deploymentKind = workloadKind({
  group: 'apps',
  kind: 'Deployment',
  plural: 'deployments',
  definition: 'apps.v1.Deployment',
  shortNames: ['deploy'],
  scale: true,
  selectorText: 'empty selector is invalid for deployment',
  generationCountsAnnotations: true,
  initialStatus: {},
  defaultSpec(spec) {
    spec.replicas ??= 1;
    rollingUpdate(spec, 'strategy', { maxUnavailable: '25%', maxSurge: '25%' });
    spec['revisionHistoryLimit'] ??= REVISION_LIMIT;
    spec['progressDeadlineSeconds'] ??= 600;
  },
  validateSpec: validateDeploymentRollout,
  columns: [
    nameColumn,
    column('Ready', (object) => `${statusNumber(object, 'readyReplicas')}/${wantedReplicas(object)}`),
    column('Up-to-date', (object) => statusNumber(object, 'updatedReplicas')),
    column('Available', (object) => statusNumber(object, 'availableReplicas')),
    ageColumn,
    containersColumn,
    imagesColumn,
    selectorColumn,
  ],
});

export const replicaSetKind = workloadKind({
  group: 'apps',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  definition: 'apps.v1.ReplicaSet',
  shortNames: ['rs'],
  scale: true,
  selectorText: 'empty selector is invalid for replicaset',
  initialStatus: { replicas: 0 },
  defaultSpec(spec) {
    spec.replicas ??= 1;
  },
  columns: [
    nameColumn,
    column('Desired', wantedReplicas, { type: 'integer' }),
    column('Current', (object) => statusNumber(object, 'replicas'), { type: 'integer' }),
    column('Ready', (object) => statusNumber(object, 'readyReplicas'), { type: 'integer' }),
    ageColumn,
    containersColumn,
    imagesColumn,
    selectorColumn,
  ],
});

function validateStatefulSet(spec: WorkloadSpec): FieldError[] {
  const policy = spec['podManagementPolicy'];
  const errors: FieldError[] = [];
  if (policy !== 'OrderedReady' && policy !== 'Parallel') {
    errors.push(invalidValue('spec.podManagementPolicy', policy, "must be 'OrderedReady' or 'Parallel'"));
  }
  const claims = (spec['volumeClaimTemplates'] ?? []) as core.PersistentVolumeClaim[]; // a list by schema
  claims.forEach((claim, index) => errors.push(...validateClaimSpec(claim.spec, `spec.volumeClaimTemplates[${index}].spec`)));
  return errors;
}

export const statefulSetKind = workloadKind({
  group: 'apps',
  kind: 'StatefulSet',
  plural: 'statefulsets',
  definition: 'apps.v1.StatefulSet',
  shortNames: ['sts'],
  scale: true,
  selectorText: 'empty selector is invalid for statefulset',
  initialStatus: { replicas: 0, availableReplicas: 0 },
  mutable: ['replicas', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy', 'minReadySeconds'],
  defaultSpec(spec) {
    spec.replicas ??= 1;
    spec['serviceName'] ??= '';
    spec['podManagementPolicy'] ??= 'OrderedReady';
    const retention = spec['persistentVolumeClaimRetentionPolicy'] as Record<string, unknown> | undefined; // an object by schema
    if (retention !== undefined) {
      retention['whenDeleted'] ??= 'Retain';
      retention['whenScaled'] ??= 'Retain';
    }
    rollingUpdate(spec, 'updateStrategy', { partition: 0 });
    spec['revisionHistoryLimit'] ??= REVISION_LIMIT;
    for (const claim of (spec['volumeClaimTemplates'] ?? []) as core.PersistentVolumeClaim[]) {
      // a list by schema
      claim.apiVersion ??= 'v1';
      claim.kind ??= 'PersistentVolumeClaim';
      claim.metadata = { ...claim.metadata, creationTimestamp: null as unknown as string }; // the API server writes null here
      if (claim.spec !== undefined) claim.spec.volumeMode ??= 'Filesystem';
      (claim as { status?: unknown }).status ??= { phase: 'Pending' }; // published as read-only
    }
  },
  validateSpec: (spec) => [...validateStatefulSet(spec), ...validateStatefulSetRollout(spec)],
  addedVolumes: (spec) =>
    ((spec['volumeClaimTemplates'] ?? []) as core.PersistentVolumeClaim[]) // a list by schema
      .map(({ metadata }) => ({
        name: metadata?.name ?? '',
        persistentVolumeClaim: { claimName: metadata?.name ?? '' },
      })),
  columns: [
    nameColumn,
    column('Ready', (object) => `${statusNumber(object, 'readyReplicas')}/${wantedReplicas(object)}`),
    ageColumn,
    containersColumn,
    imagesColumn,
  ],
});

const nodeSelectorText = ({ spec }: Workload): string =>
  selectorText({ matchLabels: (spec?.template?.spec?.nodeSelector ?? {}) as Record<string, string> });

const TEMPLATE_GENERATION = 'deprecated.daemonset.template.generation';
const daemonSet = workloadKind({
  group: 'apps',
  kind: 'DaemonSet',
  plural: 'daemonsets',
  definition: 'apps.v1.DaemonSet',
  shortNames: ['ds'],
  selectorText: 'empty selector is invalid for daemonset',
  initialStatus: { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 },
  defaultSpec(spec) {
    rollingUpdate(spec, 'updateStrategy', { maxUnavailable: 1, maxSurge: 0 });
    spec['revisionHistoryLimit'] ??= REVISION_LIMIT;
  },
  validateSpec: validateDaemonSetRollout,
  columns: [
    nameColumn,
    column('Desired', (object) => statusNumber(object, 'desiredNumberScheduled'), { type: 'integer' }),
    column('Current', (object) => statusNumber(object, 'currentNumberScheduled'), { type: 'integer' }),
    column('Ready', (object) => statusNumber(object, 'numberReady'), { type: 'integer' }),
    column('Up-to-date', (object) => statusNumber(object, 'updatedNumberScheduled'), { type: 'integer' }),
    column('Available', (object) => statusNumber(object, 'numberAvailable'), { type: 'integer' }),
    column('Node Selector', (object) => nodeSelectorText(typed<Workload>(object))),
    ageColumn,
    containersColumn,
    imagesColumn,
    selectorColumn,
  ],
});

export const daemonSetKind: BuiltinKind = {
  ...daemonSet,
  strategy: {
    ...daemonSet.strategy,
    prepareForCreate(object, context) {
      daemonSet.strategy?.prepareForCreate?.(object, context);
      object.metadata.annotations = { ...object.metadata.annotations, [TEMPLATE_GENERATION]: '1' };
    },
    prepareForUpdate(object, old, context) {
      daemonSet.strategy?.prepareForUpdate?.(object, old, context);
      const before = Number(old.metadata.annotations?.[TEMPLATE_GENERATION] ?? '1');
      const changed = !deepEqual(typed<Workload>(object).spec?.template, typed<Workload>(old).spec?.template);
      object.metadata.annotations = {
        ...object.metadata.annotations,
        [TEMPLATE_GENERATION]: String(changed ? before + 1 : before),
      };
    },
  },
};

interface Revision {
  revision?: number;
  data?: unknown;
}

export const controllerRevisionKind: BuiltinKind = {
  group: 'apps',
  kind: 'ControllerRevision',
  plural: 'controllerrevisions',
  definition: 'apps.v1.ControllerRevision',
  strategy: {
    default(object) {
      typed<Revision>(object).revision ??= 0;
    },
    validateUpdate(next, old) {
      return deepEqual(typed<Revision>(next).data, typed<Revision>(old).data)
        ? []
        : [invalidValue('data', typed<Revision>(next).data ?? null, 'field is immutable')];
    },
  },
  columns: [
    nameColumn,
    column('Controller', (object) => {
      const owner = controllerOf(object);
      if (owner === undefined) return '<none>';
      const group = owner.apiVersion.includes('/') ? `.${owner.apiVersion.split('/')[0]}` : '';
      return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
    }),
    column('Revision', (object) => typed<Revision>(object).revision ?? 0),
    ageColumn,
  ],
};
