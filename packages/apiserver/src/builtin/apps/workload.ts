import type { core } from '@slipway/api';
import {
  type FieldError,
  type LabelSelectorObject,
  type UnstructuredObject,
  deepEqual,
  forbiddenField,
  invalidValue,
  matchesLabels,
  requiredValue,
  selectorOf,
  formatLabelSelector,
  unsupportedValue,
  validateLabelSelector,
} from '@slipway/apimachinery';
import type { SubresourceDefinition, TableColumn } from '../../registry/resource-definition.ts';
import { type BuiltinKind, column, typed } from '../define.ts';
import { defaultPodTemplate } from '../core/pod-defaults.ts';
import { validatePodSpec } from '../core/pod-validation.ts';
import { nonNegative } from './rollout-rules.ts';

/** What the kinds that run pods from a template have in common. */
export interface WorkloadSpec {
  replicas?: number;
  selector?: LabelSelectorObject;
  template?: core.PodTemplateSpec;
  [field: string]: unknown;
}
export interface Workload {
  spec?: WorkloadSpec;
  status?: Record<string, number | undefined>;
}

export interface WorkloadOptions {
  readonly group?: string;
  readonly kind: string;
  readonly plural: string;
  readonly definition: string;
  readonly shortNames: readonly string[];
  readonly scale?: boolean;
  readonly custom?: readonly SubresourceDefinition[];
  /** ReplicationControllers select by a plain map. */
  readonly hasMapSelector?: boolean;
  readonly selectorText?: string;
  readonly initialStatus: Readonly<Record<string, unknown>>;
  readonly columns?: readonly TableColumn[];
  readonly defaultSpec: (spec: WorkloadSpec, object: UnstructuredObject) => void;
  readonly validateSpec?: (spec: WorkloadSpec) => FieldError[];
  /** Volumes that pods get besides those of the template; containers may mount them. */
  readonly addedVolumes?: (spec: WorkloadSpec) => readonly core.Volume[];
  /** Spec fields that an update may change; undefined: all but the selector. */
  readonly mutable?: readonly string[];
  readonly generationCountsAnnotations?: boolean;
}

function validateWorkload({ spec = {} }: Workload, options: WorkloadOptions): FieldError[] {
  const errors: FieldError[] = [];
  const { replicas, template } = spec;
  if (replicas !== undefined && replicas < 0)
    errors.push(invalidValue('spec.replicas', replicas, 'must be greater than or equal to 0'));
  errors.push(...nonNegative(spec['minReadySeconds'], 'spec.minReadySeconds'));
  errors.push(...validateSelection(spec, options));
  errors.push(...validatePodSpec(withVolumes(template?.spec, options.addedVolumes?.(spec) ?? []), 'spec.template.spec'));
  if (template?.spec?.activeDeadlineSeconds !== undefined) {
    const owner = options.kind === 'Deployment' ? 'ReplicaSet' : options.kind;
    errors.push(forbiddenField('spec.template.spec.activeDeadlineSeconds', `activeDeadlineSeconds in ${owner} is not Supported`));
  }
  return [...errors, ...validateRestartPolicy(template), ...(options.validateSpec?.(spec) ?? [])];
}

/** The selector itself, and that it selects the pods of the template. */
function validateSelection({ selector, template }: WorkloadSpec, options: WorkloadOptions): FieldError[] {
  const errors = options.hasMapSelector ? [] : validateSelector(selector, options);
  const requirements = options.hasMapSelector
    ? selectorOf({ matchLabels: (selector ?? {}) as Record<string, string> }) // a plain map in this kind
    : selectorOf(selector);
  const labels = template?.metadata?.labels;
  if (requirements !== undefined && matchesLabels(requirements, labels)) return errors;
  const text = '`selector` does not match template `labels`';
  return [...errors, invalidValue('spec.template.metadata.labels', labels ?? {}, text)];
}

function withVolumes(spec: core.PodSpec | undefined, added: readonly core.Volume[]): core.PodSpec | undefined {
  if (spec === undefined || added.length === 0) return spec;
  const own = spec.volumes ?? [];
  return { ...spec, volumes: [...own, ...added.filter(({ name }) => !own.some((volume) => volume.name === name))] };
}

function validateRestartPolicy(template: core.PodTemplateSpec | undefined): FieldError[] {
  const policy = template?.spec?.restartPolicy ?? 'Always';
  // other values are findings of the pod spec already
  return policy === 'OnFailure' || policy === 'Never'
    ? [unsupportedValue('spec.template.spec.restartPolicy', policy, ['Always'])]
    : [];
}

function validateSelector(selector: LabelSelectorObject | undefined, { selectorText }: WorkloadOptions): FieldError[] {
  if (selector === undefined) return [requiredValue('spec.selector')];
  const errors = validateLabelSelector(selector, 'spec.selector');
  if ((selectorOf(selector) ?? []).length === 0) {
    errors.push(invalidValue('spec.selector', selector, selectorText ?? 'empty selector is invalid'));
  }
  return errors;
}

function validateChange(
  { spec: next = {} }: Workload,
  { spec: old = {} }: Workload,
  { mutable, kind }: WorkloadOptions,
): FieldError[] {
  if (mutable !== undefined) {
    const rest = (spec: WorkloadSpec) => Object.fromEntries(Object.entries(spec).filter(([field]) => !mutable.includes(field)));
    if (deepEqual(rest(next), rest(old))) return [];
    const names = mutable.map((field) => `'${field}'`);
    const text = `updates to ${kind.toLowerCase()} spec for fields other than ${names.slice(0, -1).join(', ')} and ${names.at(-1)} are forbidden`;
    return [{ type: 'Forbidden', path: 'spec', detail: `Forbidden: ${text}` }];
  }
  return deepEqual(next.selector, old.selector) ? [] : [invalidValue('spec.selector', next.selector, 'field is immutable')];
}

/** A kind that runs pods from a template. */
export function workloadKind(options: WorkloadOptions): BuiltinKind {
  return {
    ...(options.group !== undefined && { group: options.group }),
    kind: options.kind,
    plural: options.plural,
    definition: options.definition,
    shortNames: options.shortNames,
    categories: ['all'],
    status: true,
    scale: options.scale === true,
    ...(options.custom && { custom: options.custom }),
    strategy: {
      hasGeneration: true,
      generationBumps: (next, old) =>
        !deepEqual(next['spec'], old['spec']) ||
        (options.generationCountsAnnotations === true && !deepEqual(next.metadata.annotations, old.metadata.annotations)),
      default(object) {
        const workload = typed<Workload>(object);
        workload.status ??= {};
        const spec = (workload.spec ??= {});
        spec.template ??= { metadata: {} };
        defaultPodTemplate(spec.template);
        options.defaultSpec(spec, object);
      },
      prepareForCreate(object) {
        object['status'] = { ...options.initialStatus };
      },
      prepareForUpdate(object, old) {
        object['status'] = old['status'];
      },
      validate: (object) => validateWorkload(typed<Workload>(object), options),
      validateUpdate: (next, old) => validateChange(typed<Workload>(next), typed<Workload>(old), options),
    },
    ...(options.columns && { columns: options.columns }),
  };
}

const containersOf = (object: UnstructuredObject): readonly core.Container[] =>
  typed<Workload>(object).spec?.template?.spec?.containers ?? [];

/** Names of containers, as tables show them. */
export const namesText = (containers: readonly core.Container[]): string => containers.map(({ name }) => name).join(',');
/** Images of containers, as tables show them. */
export const imagesText = (containers: readonly core.Container[]): string => containers.map(({ image }) => image).join(',');

export const containersColumn = column('Containers', (object) => namesText(containersOf(object)), { wide: true });
export const imagesColumn = column('Images', (object) => imagesText(containersOf(object)), { wide: true });
export const selectorColumn = column('Selector', (object) => selectorText(typed<Workload>(object).spec?.selector), {
  wide: true,
});

export function selectorText(selector: LabelSelectorObject | undefined): string {
  const requirements = selectorOf(selector);
  if (requirements === undefined || requirements.length === 0) return '<none>';
  return formatLabelSelector(
    requirements.map((entry) => (entry.operator === 'In' && entry.values.length === 1 ? { ...entry, operator: '=' } : entry)),
  );
}

/** A number of the status, 0 when absent. */
export const statusNumber = (object: UnstructuredObject, name: string): number => typed<Workload>(object).status?.[name] ?? 0;
export const wantedReplicas = (object: UnstructuredObject): number => typed<Workload>(object).spec?.replicas ?? 0;
