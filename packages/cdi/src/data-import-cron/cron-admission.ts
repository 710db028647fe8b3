import type { DataImportCron } from '@slipway/api';
import { StatusError, type StatusCause } from '@slipway/apimachinery';
import type { AdmissionHandler } from '@slipway/runtime';
import { isDeepStrictEqual } from 'node:util';
import { validateSpec } from '../data-volume/validate-spec.ts';
import { isSchedule } from './schedule-plan.ts';

const MAX_LABEL = 63;

/** Refuses DataImportCrons that CDI refuses, in CDI's words. */
export const dataImportCronAdmission: AdmissionHandler = {
  name: 'dataimportcron-validate.cdi.kubevirt.io',
  rules: [{ group: 'cdi.kubevirt.io', resources: ['dataimportcrons'], operations: ['CREATE', 'UPDATE'] }],
  async validate(request) {
    const cron = request.object as unknown as DataImportCron; // the rule names no other kind
    const isUpdate = request.operation === 'UPDATE';
    const causes = isUpdate
      ? isDeepStrictEqual(cron.spec, request.oldObject?.['spec'])
        ? []
        : [{ reason: 'FieldValueDuplicate', message: 'Cannot update DataImportCron Spec', field: 'DataImportCron.Spec' }]
      : validateCron(cron);
    if (causes.length === 0) return [];
    throw new StatusError({
      code: 422,
      reason: 'Invalid',
      message: `admission webhook "dataimportcron-validate.cdi.kubevirt.io" denied the request: ${causes.map(({ message }) => message).join(', ')}`,
      details: { name: request.name, group: 'cdi.kubevirt.io', kind: 'DataImportCron', causes },
    });
  },
};

const invalid = (message: string, field: string): StatusCause => ({ reason: 'FieldValueInvalid', message, field });

/** Every complaint about a new DataImportCron. */
export function validateCron({ metadata, spec }: DataImportCron): StatusCause[] {
  if ((metadata.name ?? '').length > MAX_LABEL)
    return [invalid(`Name cannot be longer than ${MAX_LABEL} characters`, 'metadata.name')];
  const causes = templateCauses(spec.template.spec);
  if (causes.length > 0) return causes;
  const { schedule, importsToKeep = 0, garbageCollect = '', retentionPolicy = '', managedDataSource } = spec;
  if (!isSchedule(schedule)) return [invalid('Illegal cron schedule', 'spec.schedule')];
  if (importsToKeep < 0) return [invalid('Illegal ImportsToKeep value', 'spec.importsToKeep')];
  if (!['', 'Never', 'Outdated'].includes(garbageCollect))
    return [invalid('Illegal GarbageCollect value', 'spec.garbageCollect')];
  if (!['', 'All', 'None'].includes(retentionPolicy)) return [invalid('Illegal RetentionPolicy value', 'spec.retentionPolicy')];
  const isName = managedDataSource.length <= MAX_LABEL && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(managedDataSource);
  return isName ? [] : [invalid('Illegal ManagedDataSource value', 'spec.managedDataSource')];
}

function templateCauses(spec: DataImportCron['spec']['template']['spec']): StatusCause[] {
  const { source, sourceRef, contentType, checkpoints, finalCheckpoint } = spec;
  if (source === undefined && sourceRef === undefined) return [invalid('Missing source', 'spec.template.spec.source')];
  if (sourceRef || contentType || (checkpoints?.length ?? 0) > 0 || finalCheckpoint)
    return [invalid('Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint', 'spec.template')];
  const { registry, pvc, http, s3, gcs } = source ?? {};
  if (!(registry || pvc || http || s3 || gcs))
    return [invalid('Only registry, pvc, http, s3 and gcs sources can be polled', 'spec.template.spec.source')];
  return validateSpec({ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata: { name: 'template' }, spec });
}
