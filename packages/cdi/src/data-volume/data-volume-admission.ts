import type { DataVolume, PersistentVolumeClaim } from '@slipway/api';
import { StatusError, type StatusCause, tryParseQuantity, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest, UserInfo } from '@slipway/runtime';
import { Annotation, MIB } from '../constants.ts';
import { parseChecksum } from '../mover/checksum.ts';

type Spec = DataVolume['spec'];
type Source = NonNullable<Spec['source']>;
type Find = (namespace: string, name: string) => Promise<PersistentVolumeClaim | undefined>;

/** Records who asks for a DataVolume, and refuses those that CDI refuses, in CDI's words. */
export function dataVolumeAdmission(deps: { readonly findClaim: Find }): AdmissionHandler {
  return {
    name: 'datavolume-validate.cdi.kubevirt.io',
    rules: [{ group: 'cdi.kubevirt.io', resources: ['datavolumes'], operations: ['CREATE', 'UPDATE'] }],
    mutate: async (request) => withRequester(request),
    async validate(request) {
      const dataVolume = request.object as unknown as DataVolume; // the rule names no other kind
      const causes = request.operation === 'CREATE' ? validateSpec(dataVolume) : validateUpdate(request);
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

const invalid = (message: string, field: string): StatusCause => ({ reason: 'FieldValueInvalid', message, field });

function validateUpdate({ object, oldObject }: AdmissionRequest): StatusCause[] {
  if (JSON.stringify(sorted(object?.['spec'])) === JSON.stringify(sorted(oldObject?.['spec']))) return [];
  return [{ reason: 'FieldValueDuplicate', message: 'Cannot update DataVolume Spec', field: 'DataVolume.Spec' }];
}

const sorted = (value: unknown): unknown => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, child]) => [key, sorted(child)]),
  );
};

/** Every complaint about a new DataVolume; the first group that complains is the answer, as with CDI. */
export function validateSpec({ spec, metadata }: DataVolume): StatusCause[] {
  if ((metadata.name ?? '').length > 253) return [invalid('Name cannot be longer than 253 characters', 'metadata.name')];
  const storage = storageCauses(spec);
  if (storage.length > 0) return storage;
  return [...contentCauses(spec), ...populationCauses(spec)];
}

function storageCauses(spec: Spec): StatusCause[] {
  if (spec.pvc === undefined && spec.storage === undefined) return [invalid('Missing Data volume PVC', 'spec.PVC')];
  if (spec.pvc !== undefined && spec.storage !== undefined)
    return [invalid('Duplicate storage definition, both target storage and target pvc defined', 'spec.PVC.Storage')];
  const [name, target] = spec.pvc === undefined ? (['Storage', spec.storage] as const) : (['PVC', spec.pvc] as const);
  const size = sizeCause(name, target?.resources?.requests?.['storage'], spec);
  if (size !== undefined) return [size];
  return spec.pvc === undefined ? [] : modeCauses(spec.pvc.accessModes ?? []);
}

function sizeCause(name: string, size: string | number | undefined, spec: Spec): StatusCause | undefined {
  const field = `spec.${name}.resources.requests.size`;
  if (size === undefined) {
    const comesFromSource =
      name === 'Storage' && Boolean(spec.source?.pvc ?? spec.source?.snapshot ?? spec.sourceRef ?? spec.storage?.dataSourceRef);
    return comesFromSource ? undefined : invalid(`${name} size is missing`, field);
  }
  const quantity = tryParseQuantity(size);
  if (quantity === undefined || quantity.nano <= 0n) return invalid(`${name} size can't be equal or less than zero`, field);
  return quantity.nano < BigInt(MIB) * 1_000_000_000n ? invalid(`${name} size should be at least 1MiB`, field) : undefined;
}

const ACCESS_MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];

function modeCauses(modes: readonly string[]): StatusCause[] {
  const field = 'spec.PVC.accessModes';
  if (modes.length === 0) return [invalid('Required value: at least 1 access mode is required', field)];
  if (modes.length > 1) return [invalid('PVC multiple accessModes', field)];
  const [mode = ''] = modes;
  const supported = ACCESS_MODES.map((text) => `"${text}"`).join(', ');
  return ACCESS_MODES.includes(mode) ? [] : [invalid(`Unsupported value: "${mode}": supported values: ${supported}`, field)];
}

function contentCauses({ contentType: given, source }: Spec): StatusCause[] {
  const contentType: string = given ?? '';
  if (!['', 'kubevirt', 'archive'].includes(contentType))
    return [invalid('ContentType not one of: kubevirt, archive', 'spec.contentType')];
  if (contentType !== 'archive') return [];
  if (source?.blank) return [invalid('SourceType cannot be blank and the contentType be archive', 'spec.contentType')];
  return source?.registry ? [invalid('ContentType must be kubevirt when Source is Registry', 'spec.contentType')] : [];
}

function populationCauses(spec: Spec): StatusCause[] {
  const external = (spec.pvc ?? spec.storage)?.dataSourceRef ?? (spec.pvc ?? spec.storage)?.dataSource;
  const own = Number(spec.source !== undefined) + Number(spec.sourceRef !== undefined);
  if (external !== undefined)
    return own > 0 ? [invalid('External population is incompatible with Source and SourceRef', 'spec.source')] : [];
  if (own !== 1)
    return [invalid('Data volume should have either Source or SourceRef, or be externally populated', 'spec.source')];
  return spec.sourceRef === undefined ? sourceCauses(spec.source ?? {}) : referenceCauses(spec.sourceRef);
}

function referenceCauses({ kind, name }: NonNullable<Spec['sourceRef']>): StatusCause[] {
  if (!kind) return [invalid('Missing sourceRef kind', 'spec.sourceRef.Kind')];
  if (kind !== 'DataSource')
    return [invalid(`Unsupported sourceRef kind ${kind}, currently only DataSource is supported`, 'spec.sourceRef.Kind')];
  return name ? [] : [invalid('Missing sourceRef name', 'spec.sourceRef.Name')];
}

function sourceCauses(source: Source): StatusCause[] {
  const members = Object.values(source).filter((member) => member !== undefined && member !== null);
  if (members.length === 0) return [invalid('Missing Data volume source', 'spec.source')];
  if (members.length > 1) return [invalid('Multiple Data volume sources', 'spec.source')];
  if (source.http) return [...urlCauses(source.http.url, 'HTTP'), ...checksumCauses(source.http.checksum)];
  if (source.s3) return urlCauses(source.s3.url, 'S3');
  if (source.gcs) return urlCauses(source.gcs.url, 'GCS');
  if (source.registry) return registryCauses(source.registry);
  if (source.pvc && !(source.pvc.namespace && source.pvc.name))
    return [invalid('spec.source.PVC source PVC is not valid', 'spec.source.PVC')];
  if (source.snapshot && !(source.snapshot.namespace && source.snapshot.name))
    return [invalid('spec.source.Snapshot source snapshot is not valid', 'spec.source.Snapshot')];
  return [];
}

function urlCauses(url: string, kind: string): StatusCause[] {
  const field = `spec.source.${kind}.url`;
  if (url === '') return [invalid('source URL is empty', field)];
  const scheme = URL.canParse(url) ? new URL(url).protocol.slice(0, -1) : undefined;
  if (scheme === undefined) return [invalid(`Invalid source URL: ${url}`, field)];
  return ['http', 'https', 'gs'].includes(scheme) ? [] : [invalid(`Invalid source URL scheme: ${url}`, field)];
}

function checksumCauses(checksum: string | undefined): StatusCause[] {
  const parsed = checksum ? parseChecksum(checksum) : undefined;
  return typeof parsed === 'string' ? [invalid(parsed, 'spec.source.HTTP.checksum')] : [];
}

function registryCauses({ url, imageStream, pullMethod = '' }: NonNullable<Source['registry']>): StatusCause[] {
  const field = 'spec.source.Registry';
  if ((url === undefined) === (imageStream === undefined))
    return [invalid('Source registry should have either URL or ImageStream', field)];
  const scheme = url?.match(/^([a-z-]+):\/\//)?.[1] ?? '';
  if (url !== undefined && !['docker', 'oci-archive'].includes(scheme))
    return [invalid(`Illegal registry source URL scheme ${url}`, `${field}.url`)];
  if (!['', 'pod', 'node'].includes(pullMethod))
    return [invalid(`ImportMethod ${pullMethod} is neither pod, node or ""`, `${field}.pullMethod`)];
  return imageStream !== undefined && pullMethod !== 'node'
    ? [invalid('Source registry ImageStream is supported only with node pull import method', `${field}.imageStream`)]
    : [];
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
