import type { DataVolume } from '@slipway/api';
import { deepEqual, type StatusCause, tryParseQuantity } from '@slipway/apimachinery';
import { MIB } from '../constants.ts';
import { parseChecksum } from '../mover/checksum.ts';

type Spec = DataVolume['spec'];
type Source = NonNullable<Spec['source']>;

const MAX_NAME = 253;

const invalid = (message: string, field: string): StatusCause => ({ reason: 'FieldValueInvalid', message, field });

/** Complaints about a changed DataVolume: its spec stays as it is, but for the stages of an import that has stages. */
export function validateSpecUpdate(next: DataVolume, old: DataVolume): StatusCause[] {
  const hasStages = Boolean(next.spec.source?.imageio ?? next.spec.source?.vddk);
  const fixed = ({ spec }: DataVolume): object => {
    const { checkpoints: _, finalCheckpoint: __, ...rest } = spec;
    return hasStages ? rest : spec;
  };
  if (deepEqual(fixed(next), fixed(old))) return [];
  return [{ reason: 'FieldValueDuplicate', message: 'Cannot update DataVolume Spec', field: 'DataVolume.Spec' }];
}

/** Every complaint about a new DataVolume; the first group that complains is the answer, as with CDI. */
export function validateSpec({ spec, metadata }: DataVolume): StatusCause[] {
  if ((metadata.name ?? '').length > MAX_NAME) return [tooLong('metadata.name')];
  const storage = storageCauses(spec);
  if (storage.length > 0) return storage;
  return [...contentCauses(spec), ...populationCauses(spec)];
}

const tooLong = (field: string): StatusCause => invalid(`Name cannot be longer than ${MAX_NAME} characters`, field);

function storageCauses(spec: Spec): StatusCause[] {
  if (spec.pvc === undefined && spec.storage === undefined) return [invalid('Missing Data volume PVC', 'spec.PVC')];
  if (spec.pvc !== undefined && spec.storage !== undefined)
    return [invalid('Duplicate storage definition, both target storage and target pvc defined', 'spec.PVC.Storage')];
  const [name, target] = spec.pvc === undefined ? (['Storage', spec.storage] as const) : (['PVC', spec.pvc] as const);
  if ((target?.storageClassName ?? '').length > MAX_NAME) return [tooLong(`spec.${name}.storageClassName`)];
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
  const { dataSource, dataSourceRef } = spec.pvc ?? spec.storage ?? {};
  const own = Number(spec.source !== undefined) + Number(spec.sourceRef !== undefined);
  if (dataSource !== undefined || dataSourceRef !== undefined)
    return own > 0
      ? [invalid('External population is incompatible with Source and SourceRef', 'spec.source')]
      : externalCauses(dataSource, dataSourceRef, spec.pvc === undefined ? 'Storage' : 'PVC');
  if (own !== 1)
    return [invalid('Data volume should have either Source or SourceRef, or be externally populated', 'spec.source')];
  return spec.sourceRef === undefined ? sourceCauses(spec.source ?? {}) : referenceCauses(spec.sourceRef);
}

type Storage = NonNullable<Spec['storage']>;

function externalCauses(
  dataSource: Storage['dataSource'],
  dataSourceRef: Storage['dataSourceRef'],
  name: 'Storage' | 'PVC',
): StatusCause[] {
  const field = `spec.${name}.dataSourceRef`;
  if (dataSourceRef?.namespace) return [invalid('Invalid value: DataSourceRef namespace not supported', `${field}.namespace`)];
  if (dataSource === undefined || dataSourceRef === undefined) return [];
  const isSame = (['apiGroup', 'kind', 'name'] as const).every((key) => (dataSource[key] ?? '') === (dataSourceRef[key] ?? ''));
  return isSame ? [] : [invalid('DataSourceRef and DataSource must match', field)];
}

function referenceCauses({ kind, name }: NonNullable<Spec['sourceRef']>): StatusCause[] {
  if (!kind) return [invalid('Missing sourceRef kind', 'spec.sourceRef.Kind')];
  if (kind !== 'DataSource')
    return [invalid(`Unsupported sourceRef kind ${kind}, currently only DataSource is supported`, 'spec.sourceRef.Kind')];
  return name ? [] : [invalid('Missing sourceRef name', 'spec.sourceRef.Name')];
}

/** Complaints about a source: also that of a population by a VolumeImportSource. */
export function sourceCauses(source: Source): StatusCause[] {
  const members = Object.values(source).filter((member) => member !== undefined && member !== null);
  if (members.length === 0) return [invalid('Missing Data volume source', 'spec.source')];
  if (members.length > 1) return [invalid('Multiple Data volume sources', 'spec.source')];
  if (source.http) return [...urlCauses(source.http.url, 'HTTP'), ...checksumCauses(source.http.checksum)];
  if (source.s3) return urlCauses(source.s3.url, 'S3');
  if (source.gcs) return urlCauses(source.gcs.url, 'GCS');
  if (source.registry) return registryCauses(source.registry);
  if (source.imageio) return imageioCauses(source.imageio);
  if (source.vddk) return vddkCauses(source.vddk);
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

function imageioCauses({
  url,
  diskId,
  secretRef,
  certConfigMap,
  insecureSkipVerify,
}: NonNullable<Source['imageio']>): StatusCause[] {
  const field = 'spec.source.Imageio';
  if (!url || !diskId || !secretRef) return [invalid(`${field} source Imageio is not valid`, field)];
  if (!certConfigMap && !insecureSkipVerify)
    return [invalid(`${field} source Imageio requires CertConfigMap or InsecureSkipVerify`, field)];
  return urlCauses(url, 'Imageio');
}

function vddkCauses({ url, uuid, backingFile, thumbprint, secretRef }: NonNullable<Source['vddk']>): StatusCause[] {
  const field = 'spec.source.VDDK';
  const isComplete = url && uuid && backingFile && thumbprint && secretRef;
  return isComplete ? urlCauses(url, 'VDDK') : [invalid(`${field} source VDDK is not valid`, field)];
}
