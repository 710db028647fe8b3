import { isLocalProvisioner, type PersistentVolume, type PersistentVolumeClaim, type core } from '@slipway/api';
import {
  type FieldError,
  compareQuantities,
  deepEqual,
  forbiddenField,
  invalidValue,
  parseQuantity,
  requiredValue,
  tryParseQuantity,
  unsupportedValue,
} from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { oneOf } from './pod-validation.ts';

const ACCESS_MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce'];
const SINGLE_POD = 'ReadWriteOncePod';
const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';
const VOLUME_MODES = ['Block', 'Filesystem'];
const RECLAIM_POLICIES = ['Delete', 'Recycle', 'Retain'];
const SHORT_MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

function validateAccessModes(modes: readonly string[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (modes.length === 0) errors.push(requiredValue(path, 'at least 1 access mode is required'));
  // alone it is known, as in Kubernetes 1.27; beside others the answer is that of 1.26, which did not know it
  const isSinglePod = modes.length === 1 && modes[0] === SINGLE_POD;
  for (const mode of modes)
    if (!ACCESS_MODES.includes(mode) && !isSinglePod) errors.push(unsupportedValue(path, mode, ACCESS_MODES));
  if (modes.length > 1 && modes.includes(SINGLE_POD)) {
    errors.push(forbiddenField(path, `may not use ${SINGLE_POD} with other access modes`));
  }
  return errors;
}

/** Findings of a claim's spec; also used for the claim templates of StatefulSets. */
export function validateClaimSpec(spec: core.PersistentVolumeClaimSpec | undefined, path: string): FieldError[] {
  const errors = validateAccessModes(spec?.accessModes ?? [], `${path}.accessModes`);
  const storage = spec?.resources?.requests?.['storage'];
  const amount = tryParseQuantity(storage);
  if (amount === undefined) errors.push(requiredValue(`${path}.resources[storage]`));
  else if (amount.nano <= 0n) errors.push(invalidValue(`${path}.resources[storage]`, storage, 'must be greater than zero'));
  oneOf(spec?.volumeMode, VOLUME_MODES, `${path}.volumeMode`, errors);
  if (spec !== undefined) errors.push(...validateDataSource(spec, path));
  return errors;
}

const IMMUTABLE_CLAIM = 'spec is immutable after creation except resources.requests for bound claims';

/** Only the size of a bound claim may change: upwards, or back from a request that was never met. */
function validateClaimUpdate({ spec }: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const before = old.spec;
  if (spec === undefined || before === undefined) return [];
  const [size, oldSize] = [sizeOf(spec), sizeOf(before)];
  const change = size !== undefined && oldSize !== undefined ? compareQuantities(size, oldSize) : 0;
  const isBound = old.status?.phase === 'Bound';
  if (!deepEqual(lasting(spec, before), lasting(before, before)) || (change !== 0 && !isBound))
    return [forbiddenField('spec', IMMUTABLE_CLAIM)];
  return change < 0 && size !== undefined && oldSize !== undefined ? validateShrinking(size, oldSize, old) : [];
}

const sizeOf = ({ resources }: core.PersistentVolumeClaimSpec) => tryParseQuantity(resources?.requests?.['storage']);

/** What may not change: a volume is named once, and a claim without a class gets the default one when there is one. */
function lasting(spec: core.PersistentVolumeClaimSpec, before: core.PersistentVolumeClaimSpec): object {
  const { resources: _, volumeName, storageClassName, ...fields } = spec;
  const hasClass = before.storageClassName !== undefined;
  return {
    ...fields,
    volumeName: before.volumeName ? volumeName : undefined,
    storageClassName: before.volumeName || hasClass ? storageClassName : undefined,
  };
}

type Quantity = ReturnType<typeof parseQuantity>;

/** A growth that cannot be met may be taken back, down to what the volume has and more. */
function validateShrinking(size: Quantity, oldSize: Quantity, { status }: PersistentVolumeClaim): FieldError[] {
  const path = 'spec.resources.requests.storage';
  const capacity = tryParseQuantity(status?.capacity?.['storage']);
  if (capacity === undefined || compareQuantities(capacity, oldSize) >= 0)
    return [forbiddenField(path, 'field can not be less than previous value')];
  return compareQuantities(size, capacity) > 0 ? [] : [forbiddenField(path, 'field can not be less than status.capacity')];
}

function defaultClaim(claim: PersistentVolumeClaim): void {
  claim.status ??= { phase: 'Pending' };
  claim.status.phase ??= 'Pending';
  const { spec } = claim;
  if (spec === undefined) return;
  spec.volumeMode ??= 'Filesystem';
}

const SNAPSHOT_GROUP = 'snapshot.storage.k8s.io';
const isOldSource = ({ apiGroup = '', kind }: { readonly apiGroup?: string; readonly kind: string }): boolean =>
  (apiGroup === '' && kind === 'PersistentVolumeClaim') || (apiGroup === SNAPSHOT_GROUP && kind === 'VolumeSnapshot');

/** `dataSource` knows claims and snapshots and forgets the rest; what either field says is written into the other. */
function mirrorDataSource({ spec }: PersistentVolumeClaim): void {
  if (spec === undefined) return;
  if (spec.dataSource !== undefined && !isOldSource(spec.dataSource)) delete spec.dataSource;
  const { dataSource, dataSourceRef } = spec;
  if (dataSource !== undefined && dataSourceRef === undefined) spec.dataSourceRef = { ...dataSource };
  else if (dataSourceRef !== undefined && dataSource === undefined && !dataSourceRef.namespace) {
    const { namespace: _, ...reference } = dataSourceRef;
    spec.dataSource = reference;
  }
}

/** A source has a kind and a name, and the two fields agree. */
function validateDataSource({ dataSource, dataSourceRef }: core.PersistentVolumeClaimSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [field, source] of [
    ['dataSource', dataSource],
    ['dataSourceRef', dataSourceRef],
  ] as const) {
    if (source === undefined) continue;
    if (!source.name) errors.push(requiredValue(`${path}.${field}.name`));
    if (!source.kind) errors.push(requiredValue(`${path}.${field}.kind`));
    if (!source.apiGroup && source.kind && source.kind !== 'PersistentVolumeClaim')
      errors.push(
        invalidValue(`${path}.${field}`, source.kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"),
      );
  }
  if (dataSource === undefined || dataSourceRef === undefined) return errors;
  const isSame =
    dataSource.name === dataSourceRef.name &&
    dataSource.kind === dataSourceRef.kind &&
    (dataSource.apiGroup ?? '') === (dataSourceRef.apiGroup ?? '');
  if (!isSame) errors.push(invalidValue(path, `${path}.dataSource`, 'must match dataSourceRef'));
  return errors;
}

export const modesText = (modes: readonly string[] | undefined): string =>
  (modes ?? []).map((mode) => SHORT_MODES[mode] ?? mode).join(',');

const claimStatus = (claim: PersistentVolumeClaim): string => {
  if (claim.metadata.deletionTimestamp !== undefined) return 'Terminating';
  return claim.metadata.annotations?.['volume.kubernetes.io/claim-lost'] ? 'Lost' : (claim.status?.phase ?? '');
};
const bound = (claim: PersistentVolumeClaim): boolean => Boolean(claim.spec?.volumeName);

export const persistentVolumeClaimKind: BuiltinKind = {
  kind: 'PersistentVolumeClaim',
  plural: 'persistentvolumeclaims',
  definition: 'core.v1.PersistentVolumeClaim',
  shortNames: ['pvc'],
  status: true,
  strategy: {
    deleteReturnsObject: true,
    default: (object) => defaultClaim(typed<PersistentVolumeClaim>(object)),
    prepareForCreate(object) {
      object['status'] = { phase: 'Pending' };
      mirrorDataSource(typed<PersistentVolumeClaim>(object));
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: (object) => validateClaimSpec(typed<PersistentVolumeClaim>(object).spec, 'spec'),
    validateUpdate: (next, old) => validateClaimUpdate(typed<PersistentVolumeClaim>(next), typed<PersistentVolumeClaim>(old)),
  },
  columns: [
    nameColumn,
    column('Status', (object) => claimStatus(typed<PersistentVolumeClaim>(object))),
    column('Volume', (object) => typed<PersistentVolumeClaim>(object).spec?.volumeName ?? ''),
    column('Capacity', (object) => {
      const claim = typed<PersistentVolumeClaim>(object);
      return bound(claim) ? (claim.status?.capacity?.['storage'] ?? '') : '';
    }),
    column('Access Modes', (object) => {
      const claim = typed<PersistentVolumeClaim>(object);
      return bound(claim) ? modesText(claim.status?.accessModes) : '';
    }),
    column('StorageClass', (object) => typed<PersistentVolumeClaim>(object).spec?.storageClassName ?? ''),
    ageColumn,
    column('VolumeMode', (object) => typed<PersistentVolumeClaim>(object).spec?.volumeMode ?? '<unset>', { wide: true }),
  ],
};

const VOLUME_OPTIONS = new Set([
  'capacity',
  'accessModes',
  'claimRef',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'mountOptions',
  'volumeMode',
  'nodeAffinity',
]);

function validateVolume({ spec }: PersistentVolume): FieldError[] {
  const errors = validateAccessModes(spec?.accessModes ?? [], 'spec.accessModes');
  const storage = spec?.capacity?.['storage'];
  if (storage === undefined) errors.push(requiredValue('spec.capacity'));
  else if (compareQuantities(parseQuantity(storage), parseQuantity('0')) <= 0) {
    errors.push(invalidValue('spec.capacity[storage]', storage, 'must be greater than zero'));
  }
  const sources = Object.keys(spec ?? {}).filter((field) => !VOLUME_OPTIONS.has(field));
  if (sources.length === 0) errors.push(requiredValue('spec', 'must specify a volume type'));
  for (const surplus of sources.slice(1))
    errors.push(forbiddenField(`spec.${surplus}`, 'may not specify more than 1 volume type'));
  oneOf(spec?.persistentVolumeReclaimPolicy, RECLAIM_POLICIES, 'spec.persistentVolumeReclaimPolicy', errors);
  oneOf(spec?.volumeMode, VOLUME_MODES, 'spec.volumeMode', errors);
  if (spec?.local !== undefined && spec.nodeAffinity === undefined) {
    errors.push(requiredValue('spec.nodeAffinity', 'Local volume requires node affinity'));
  }
  return errors;
}

/** Where the data is stays, unless it has come to another node with a guest; an affinity may be added later. */
function validateVolumeUpdate(volume: PersistentVolume, before: PersistentVolume): FieldError[] {
  const { spec: next = {} } = volume;
  const { spec: old = {} } = before;
  const sourceOf = (spec: object): object =>
    Object.fromEntries(Object.entries(spec).filter(([field]) => !VOLUME_OPTIONS.has(field)));
  const errors: FieldError[] = [];
  if (!deepEqual(sourceOf(next), sourceOf(old)))
    errors.push(forbiddenField('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'));
  if (next.volumeMode !== old.volumeMode) errors.push(invalidValue('spec.volumeMode', next.volumeMode, 'field is immutable'));
  // as Kubernetes' gate MutablePVNodeAffinity: the node agents move such volumes with the guests that use them
  const mayMove = next.nodeAffinity !== undefined && isLocalProvisioner(before.metadata.annotations?.[PROVISIONED_BY]);
  if (old.nodeAffinity !== undefined && !mayMove && !deepEqual(next.nodeAffinity, old.nodeAffinity))
    errors.push(invalidValue('spec.nodeAffinity', next.nodeAffinity, 'field is immutable'));
  return errors;
}

const claimOf = ({ spec }: PersistentVolume): string =>
  spec?.claimRef ? `${spec.claimRef.namespace}/${spec.claimRef.name}` : '';

export const persistentVolumeKind: BuiltinKind = {
  kind: 'PersistentVolume',
  plural: 'persistentvolumes',
  definition: 'core.v1.PersistentVolume',
  shortNames: ['pv'],
  cluster: true,
  status: true,
  strategy: {
    deleteReturnsObject: true,
    default(object) {
      const { spec } = typed<PersistentVolume>(object);
      if (spec === undefined) return;
      spec.persistentVolumeReclaimPolicy ??= 'Retain';
      spec.volumeMode ??= 'Filesystem';
      if (spec.hostPath !== undefined) spec.hostPath.type ??= '';
    },
    prepareForCreate(object) {
      object['status'] = { phase: 'Pending' };
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: (object) => validateVolume(typed<PersistentVolume>(object)),
    validateUpdate: (next, old) => validateVolumeUpdate(typed<PersistentVolume>(next), typed<PersistentVolume>(old)),
  },
  columns: [
    nameColumn,
    column('Capacity', (object) => typed<PersistentVolume>(object).spec?.capacity?.['storage'] ?? ''),
    column('Access Modes', (object) => modesText(typed<PersistentVolume>(object).spec?.accessModes)),
    column('Reclaim Policy', (object) => typed<PersistentVolume>(object).spec?.persistentVolumeReclaimPolicy ?? ''),
    column('Status', (object) =>
      object.metadata.deletionTimestamp === undefined ? (typed<PersistentVolume>(object).status?.phase ?? '') : 'Terminating',
    ),
    column('Claim', (object) => claimOf(typed<PersistentVolume>(object))),
    column('StorageClass', (object) => typed<PersistentVolume>(object).spec?.storageClassName ?? ''),
    column('Reason', (object) => typed<PersistentVolume>(object).status?.reason ?? ''),
    ageColumn,
    column('VolumeMode', (object) => typed<PersistentVolume>(object).spec?.volumeMode ?? '<unset>', { wide: true }),
  ],
};
