import type { core } from '@slipway/api';
import {
  type FieldError,
  type LabelSelectorObject,
  type UnstructuredObject,
  ageOf,
  deepEqual,
  humanDuration,
  invalidValue,
  parseTime,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import { containersColumn, imagesColumn, imagesText, namesText, selectorColumn, selectorText } from '../apps/workload.ts';
import { nonNegative } from '../apps/rollout-rules.ts';
import { defaultPodTemplate } from '../core/pod-defaults.ts';
import { oneOf, validatePodSpec } from '../core/pod-validation.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

interface JobSpec {
  parallelism?: number;
  completions?: number;
  backoffLimit?: number;
  activeDeadlineSeconds?: number;
  ttlSecondsAfterFinished?: number;
  completionMode?: string;
  suspend?: boolean;
  manualSelector?: boolean;
  selector?: LabelSelectorObject;
  template?: core.PodTemplateSpec;
}
interface Job {
  spec?: JobSpec;
  status?: { succeeded?: number; startTime?: string; completionTime?: string; [field: string]: unknown };
}
interface CronJob {
  spec?: {
    schedule?: string;
    concurrencyPolicy?: string;
    suspend?: boolean;
    startingDeadlineSeconds?: number;
    timeZone?: string;
    successfulJobsHistoryLimit?: number;
    failedJobsHistoryLimit?: number;
    jobTemplate?: { metadata?: Record<string, unknown>; spec?: JobSpec };
  };
  status?: { active?: unknown[]; lastScheduleTime?: string };
}

const UID_LABEL = 'controller-uid';
const NAME_LABEL = 'job-name';
const TRACKING = 'batch.kubernetes.io/job-tracking';
const COMPLETION_MODES = ['NonIndexed', 'Indexed'];
const CONCURRENCY_POLICIES = ['Allow', 'Forbid', 'Replace'];

function defaultJobSpec(spec: JobSpec): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= 6;
  spec.completionMode ??= 'NonIndexed';
  spec.suspend ??= false;
  spec.template ??= {};
  defaultPodTemplate(spec.template);
  if (spec.template.spec !== undefined && spec.template.spec.restartPolicy === 'Always')
    delete spec.template?.spec?.restartPolicy;
}

/** Jobs find their pods by labels that carry the Job's own uid. */
function generateSelector(object: UnstructuredObject): void {
  const { spec } = typed<Job>(object);
  if (spec?.template === undefined || spec.manualSelector === true) return;
  const { name = '', uid = '' } = object.metadata;
  const labels = { [UID_LABEL]: uid, [NAME_LABEL]: name };
  spec.template.metadata = { ...spec.template.metadata, labels: { ...spec.template.metadata?.labels, ...labels } };
  object.metadata.labels = { ...spec.template.metadata.labels, ...object.metadata.labels };
  spec.selector ??= { matchLabels: { [UID_LABEL]: uid } };
}

function validateJobSpec(given: JobSpec | undefined, path: string): FieldError[] {
  const spec = given ?? {};
  const errors = [
    ...nonNegative(spec.parallelism, `${path}.parallelism`),
    ...nonNegative(spec.completions, `${path}.completions`),
    ...nonNegative(spec.activeDeadlineSeconds, `${path}.activeDeadlineSeconds`),
    ...nonNegative(spec.backoffLimit, `${path}.backoffLimit`),
    ...nonNegative(spec.ttlSecondsAfterFinished, `${path}.ttlSecondsAfterFinished`),
  ];
  if (spec.completionMode !== undefined && !COMPLETION_MODES.includes(spec.completionMode)) {
    errors.push(unsupportedValue(`${path}.completionMode`, spec.completionMode, COMPLETION_MODES));
  }
  if (spec.completionMode === 'Indexed' && spec.completions === undefined) {
    errors.push(requiredValue(`${path}.completions`, 'when completion mode is Indexed'));
  }
  errors.push(...validatePodSpec(spec.template?.spec, `${path}.template.spec`));
  const place = `${path}.template.spec.restartPolicy`;
  const policy = spec.template?.spec?.restartPolicy;
  if (policy === undefined || policy === 'Always') errors.push(requiredValue(place, 'valid values: "OnFailure", "Never"'));
  return errors;
}

function validateJob(object: UnstructuredObject): FieldError[] {
  const { spec } = typed<Job>(object);
  const errors = validateJobSpec(spec, 'spec');
  const generated = { matchLabels: { [UID_LABEL]: object.metadata.uid } };
  if (spec?.manualSelector !== true && !deepEqual(spec?.selector, generated)) {
    errors.push(invalidValue('spec.selector', spec?.selector ?? {}, '`selector` not auto-generated'));
  }
  return errors;
}

function validateJobUpdate(next: JobSpec | undefined, old: JobSpec | undefined): FieldError[] {
  const fields = ['completions', 'selector', 'template', 'completionMode'] as const;
  return fields
    .filter((field) => !deepEqual(next?.[field], old?.[field]))
    .map((field) => invalidValue(`spec.${field}`, next?.[field], 'field is immutable'));
}

function completionsText({ spec, status }: Job): string {
  const succeeded = status?.succeeded ?? 0;
  if (spec?.completions !== undefined) return `${succeeded}/${spec.completions}`;
  return (spec?.parallelism ?? 0) > 1 ? `${succeeded}/1 of ${spec?.parallelism}` : `${succeeded}/1`;
}

function durationText({ status }: Job, nowMs: number): string {
  const start = parseTime(status?.startTime);
  return start === undefined ? '' : humanDuration((parseTime(status?.completionTime) ?? nowMs) - start);
}

export const jobKind: BuiltinKind = {
  group: 'batch',
  kind: 'Job',
  plural: 'jobs',
  definition: 'batch.v1.Job',
  categories: ['all'],
  status: true,
  strategy: {
    hasGeneration: true,
    default(object) {
      const job = typed<Job>(object);
      job.status ??= {};
      defaultJobSpec((job.spec ??= {}));
    },
    prepareForCreate(object) {
      object['status'] = {};
      object.metadata.annotations = { ...object.metadata.annotations, [TRACKING]: '' };
      generateSelector(object);
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: validateJob,
    validateUpdate: (next, old) => validateJobUpdate(typed<Job>(next).spec, typed<Job>(old).spec),
  },
  columns: [
    nameColumn,
    column('Completions', (object) => completionsText(typed<Job>(object))),
    column('Duration', (object, nowMs) => durationText(typed<Job>(object), nowMs)),
    ageColumn,
    containersColumn,
    imagesColumn,
    selectorColumn,
  ],
  selectableFields: (object) => ({ 'status.successful': String(typed<Job>(object).status?.succeeded ?? 0) }),
};

const SCHEDULE = /^(@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)|(TZ=\S+ )?(\S+\s+){4}\S+)$/;

const MAX_CRON_JOB_NAME = 52;

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

function validateTimeZone(zone: string | undefined, path: string): FieldError[] {
  if (zone === undefined) return [];
  if (zone === '') return [invalidValue(path, zone, 'timeZone must be nil or non-empty string')];
  if (zone.toLowerCase() === 'local') {
    return [invalidValue(path, zone, 'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones')];
  }
  return isTimeZone(zone) ? [] : [invalidValue(path, zone, `unknown time zone ${zone}`)];
}

function validateCronJob(object: UnstructuredObject): FieldError[] {
  const { spec = {} } = typed<CronJob>(object);
  const { name = '' } = object.metadata;
  const errors = validateSchedule(spec.schedule);
  if (name.length > MAX_CRON_JOB_NAME) errors.push(invalidValue('metadata.name', name, 'must be no more than 52 characters'));
  errors.push(
    ...nonNegative(spec.startingDeadlineSeconds, 'spec.startingDeadlineSeconds'),
    ...nonNegative(spec.successfulJobsHistoryLimit, 'spec.successfulJobsHistoryLimit'),
    ...nonNegative(spec.failedJobsHistoryLimit, 'spec.failedJobsHistoryLimit'),
    ...validateTimeZone(spec.timeZone, 'spec.timeZone'),
  );
  const jobSpec = spec.jobTemplate?.spec;
  if (jobSpec?.manualSelector === true) {
    errors.push(unsupportedValue('spec.jobTemplate.spec.manualSelector', true, ['nil', 'false']));
  }
  oneOf(spec.concurrencyPolicy, CONCURRENCY_POLICIES, 'spec.concurrencyPolicy', errors);
  return [...errors, ...validateJobSpec(jobSpec, 'spec.jobTemplate.spec')];
}

function validateSchedule(schedule: string | undefined): FieldError[] {
  if (!schedule) return [requiredValue('spec.schedule')];
  if (SCHEDULE.test(schedule)) return [];
  const fields = schedule.trim().split(/\s+/).length;
  return [invalidValue('spec.schedule', schedule, `expected exactly 5 fields, found ${fields}: [${schedule}]`)];
}

/** In a template, what the Job itself would default stays open. */
function defaultJobTemplate(template: NonNullable<NonNullable<CronJob['spec']>['jobTemplate']>): void {
  template.metadata = { ...template.metadata, creationTimestamp: null };
  template.spec ??= {};
  template.spec.template ??= {};
  defaultPodTemplate(template.spec.template);
}

const containersOfJobs = (object: UnstructuredObject) =>
  typed<CronJob>(object).spec?.jobTemplate?.spec?.template?.spec?.containers ?? [];

export const cronJobKind: BuiltinKind = {
  group: 'batch',
  kind: 'CronJob',
  plural: 'cronjobs',
  definition: 'batch.v1.CronJob',
  shortNames: ['cj'],
  categories: ['all'],
  status: true,
  strategy: {
    hasGeneration: true,
    default(object) {
      const cronJob = typed<CronJob>(object);
      cronJob.status ??= {};
      const spec = (cronJob.spec ??= {});
      spec.concurrencyPolicy ??= 'Allow';
      spec.suspend ??= false;
      spec.successfulJobsHistoryLimit ??= 3;
      spec.failedJobsHistoryLimit ??= 1;
      defaultJobTemplate((spec.jobTemplate ??= {}));
    },
    prepareForCreate(object) {
      object['status'] = {};
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: validateCronJob,
  },
  columns: [
    nameColumn,
    column('Schedule', (object) => typed<CronJob>(object).spec?.schedule ?? ''),
    column('Suspend', (object) => (typed<CronJob>(object).spec?.suspend ? 'True' : 'False')),
    column('Active', (object) => typed<CronJob>(object).status?.active?.length ?? 0, { type: 'integer' }),
    column('Last Schedule', (object, nowMs) => {
      const last = typed<CronJob>(object).status?.lastScheduleTime;
      return last === undefined ? '<none>' : ageOf(last, nowMs);
    }),
    ageColumn,
    column('Containers', (object) => namesText(containersOfJobs(object)), { wide: true }),
    column('Images', (object) => imagesText(containersOfJobs(object)), { wide: true }),
    column('Selector', (object) => selectorText(typed<CronJob>(object).spec?.jobTemplate?.spec?.selector), { wide: true }),
  ],
};
