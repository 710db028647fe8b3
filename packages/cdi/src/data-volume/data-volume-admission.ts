import type { DataVolume, PersistentVolumeClaim } from '@slipway/api';
import { controllerOf, StatusError, type StatusCause, type UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionHandler, AdmissionRequest, UserInfo } from '@slipway/runtime';
import { Annotation } from '../constants.ts';
import { denial, mayClone, requestedSource } from './clone-authorization.ts';
import { validateSpec, validateSpecUpdate } from './validate-spec.ts';

type Find = (namespace: string, name: string) => Promise<PersistentVolumeClaim | undefined>;

interface Deps {
  readonly findClaim: Find;
  readonly client: Client;
}

/** Records who asks for a DataVolume, and refuses those that CDI refuses, in CDI's words. */
export function dataVolumeAdmission(deps: Deps): AdmissionHandler {
  return {
    name: VALIDATOR,
    rules: [{ group: 'cdi.kubevirt.io', resources: ['datavolumes'], operations: ['CREATE', 'UPDATE'] }],
    async mutate(request) {
      // the source cannot be changed later, so an update needs no right to it
      if (request.operation === 'CREATE') await authorize(request, deps.client);
      return withRequester(request);
    },
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

const VALIDATOR = 'datavolume-validate.cdi.kubevirt.io';
const MUTATOR = 'datavolume-mutate.cdi.kubevirt.io';

async function authorize(request: AdmissionRequest, client: Client): Promise<void> {
  const dataVolume = request.object as unknown as DataVolume; // the rule names no other kind
  const source = await requestedSource(dataVolume, client);
  if (source === undefined || source.namespace === request.namespace) return;
  if (await mayClone(client, request.user, source)) return;
  const message = denial(request.user.username, source.namespace);
  throw refusal(request, [{ reason: 'FieldValueInvalid', message, field: 'spec.source.PVC.namespace' }], MUTATOR);
}

/** Who asked for a DataVolume. */
export interface Requester extends UserInfo {
  /** The VM that the DataVolume was made for: then the VM's service account needs the rights as well. */
  readonly virtualMachine?: string;
}

/** The identity that `Annotation.requester` holds, or undefined for an object that passed no admission. */
export function requesterOf(dataVolume: DataVolume): Requester | undefined {
  const text = dataVolume.metadata.annotations?.[Annotation.requester];
  if (text === undefined) return undefined;
  const { username, groups = [], extra, virtualMachine } = JSON.parse(text) as Partial<Requester>; // written by `withRequester` alone
  if (typeof username !== 'string') return undefined;
  return { username, groups, ...(extra && { extra }), ...(virtualMachine !== undefined && { virtualMachine }) };
}

function newRequester({ object, user }: AdmissionRequest): Requester {
  const { username, groups, extra } = user;
  const owner = object && controllerOf(object);
  return {
    ...{ username, groups },
    ...(extra && { extra }),
    ...(owner?.kind === 'VirtualMachine' && { virtualMachine: owner.name }),
  };
}

function withRequester(request: AdmissionRequest): UnstructuredObject | undefined {
  const { object, oldObject } = request;
  if (object === undefined) return undefined;
  const kept = oldObject?.metadata.annotations?.[Annotation.requester];
  const wanted = request.operation === 'CREATE' ? JSON.stringify(newRequester(request)) : kept;
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

function refusal(request: AdmissionRequest, causes: readonly StatusCause[], webhook = VALIDATOR): StatusError {
  const message = causes.map((cause) => cause.message).join(', ');
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `admission webhook "${webhook}" denied the request: ${message}`,
    details: { name: request.name, group: 'cdi.kubevirt.io', kind: 'DataVolume', causes: [...causes] },
  });
}
