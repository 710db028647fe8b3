import type { DataVolume, PersistentVolumeClaim } from '@slipway/api';
import { StatusError, type StatusCause, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest, UserInfo } from '@slipway/runtime';
import { Annotation } from '../constants.ts';
import { validateSpec, validateSpecUpdate } from './validate-spec.ts';

type Find = (namespace: string, name: string) => Promise<PersistentVolumeClaim | undefined>;

/** Records who asks for a DataVolume, and refuses those that CDI refuses, in CDI's words. */
export function dataVolumeAdmission(deps: { readonly findClaim: Find }): AdmissionHandler {
  return {
    name: 'datavolume-validate.cdi.kubevirt.io',
    rules: [{ group: 'cdi.kubevirt.io', resources: ['datavolumes'], operations: ['CREATE', 'UPDATE'] }],
    mutate: async (request) => withRequester(request),
    async validate(request) {
      const dataVolume = request.object as unknown as DataVolume; // the rule names no other kind
      const causes =
        request.operation === 'CREATE'
          ? validateSpec(dataVolume)
          : validateSpecUpdate(dataVolume, request.oldObject as unknown as DataVolume);
      if (causes.length === 0 && request.operation === 'CREATE')
        causes.push(...(await validateTarget(dataVolume, deps.findClaim)));
      if (causes.length > 0) throw refusal(request, causes);
      return [];
    },
  };
}

/** The identity that `Annotation.requester` holds, or undefined for an object that passed no admission. */
export function requesterOf(dataVolume: DataVolume): UserInfo | undefined {
  const text = dataVolume.metadata.annotations?.[Annotation.requester];
  if (text === undefined) return undefined;
  const value = JSON.parse(text) as Partial<UserInfo>; // written by `withRequester` alone
  return typeof value.username === 'string'
    ? { username: value.username, groups: value.groups ?? [], ...(value.extra && { extra: value.extra }) }
    : undefined;
}

function withRequester(request: AdmissionRequest): UnstructuredObject | undefined {
  const { object, oldObject, user } = request;
  if (object === undefined) return undefined;
  const { username, groups, extra } = user;
  const kept = oldObject?.metadata.annotations?.[Annotation.requester];
  const wanted = request.operation === 'CREATE' ? JSON.stringify({ username, groups, ...(extra && { extra }) }) : kept;
  if (object.metadata.annotations?.[Annotation.requester] === wanted) return undefined;
  const { [Annotation.requester]: _, ...annotations } = object.metadata.annotations ?? {};
  const next = wanted === undefined ? annotations : { ...annotations, [Annotation.requester]: wanted };
  return { ...object, metadata: { ...object.metadata, annotations: next } };
}

async function validateTarget(dataVolume: DataVolume, find: Find): Promise<StatusCause[]> {
  const { namespace = '', name = '', annotations = {} } = dataVolume.metadata;
  if (name === '' || annotations[Annotation.prePopulated] !== undefined) return [];
  const claim = await find(namespace, name);
  const isOwned = claim?.metadata.ownerReferences?.some(({ kind }) => kind === 'DataVolume') ?? false;
  const isMeant =
    claim?.metadata.annotations?.[Annotation.populatedFor] === name || annotations[Annotation.claimAdoption] === 'true';
  if (claim === undefined || isOwned || isMeant) return [];
  return [
    { reason: 'FieldValueDuplicate', message: `Destination PVC ${namespace}/${name} already exists`, field: 'DataVolume.Name' },
  ];
}

function refusal(request: AdmissionRequest, causes: readonly StatusCause[]): StatusError {
  const message = causes.map((cause) => cause.message).join(', ');
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `admission webhook "datavolume-validate.cdi.kubevirt.io" denied the request: ${message}`,
    details: { name: request.name, group: 'cdi.kubevirt.io', kind: 'DataVolume', causes: [...causes] },
  });
}
