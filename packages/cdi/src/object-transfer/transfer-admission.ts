import { StatusError, type StatusCause } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';
import { isDeepStrictEqual } from 'node:util';
import type { ObjectTransfer } from './transfer-plan.ts';

const NAME = 'objecttransfer-validate.cdi.kubevirt.io';
const KINDS: readonly string[] = ['DataVolume', 'PersistentVolumeClaim'];

/** Refuses ObjectTransfers that move nothing anywhere. */
export const objectTransferAdmission: AdmissionHandler = {
  name: NAME,
  rules: [{ group: 'cdi.kubevirt.io', resources: ['objecttransfers'], operations: ['CREATE', 'UPDATE'] }],
  async validate(request) {
    const cause = causeOf(request);
    if (cause === undefined) return [];
    throw new StatusError({
      code: 422,
      reason: 'Invalid',
      message: `admission webhook "${NAME}" denied the request: ${cause.message}`,
      details: { name: request.name, group: 'cdi.kubevirt.io', kind: 'ObjectTransfer', causes: [cause] },
    });
  },
};

const invalid = (message: string, field: string): StatusCause => ({ reason: 'FieldValueInvalid', message, field });

function causeOf({ operation, object, oldObject }: AdmissionRequest): StatusCause | undefined {
  const { spec } = object as unknown as ObjectTransfer; // the rule names no other kind
  if (operation === 'UPDATE')
    return isDeepStrictEqual(spec, oldObject?.['spec'])
      ? undefined
      : { reason: 'FieldValueDuplicate', message: 'ObjectTransfer spec is immutable', field: 'spec' };
  const { source, target } = spec;
  if (!KINDS.includes(source.kind))
    return invalid(`Source kind "${source.kind}" is neither ${KINDS.join(' nor ')}`, 'spec.source.kind');
  if (!source.namespace || !source.name) return invalid('Source namespace and name must be supplied', 'spec.source');
  if (!target.namespace && !target.name) return invalid('Target namespace and/or name must be supplied', 'spec.target');
  const isSame = (target.namespace ?? source.namespace) === source.namespace && (target.name ?? source.name) === source.name;
  return isSame ? invalid('Source and target are the same', 'spec.target') : undefined;
}
