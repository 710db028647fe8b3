import type { PersistentVolume, PersistentVolumeClaim, core } from '@slipway/api';
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
  return errors;
}

const IMMUTABLE_CLAIM = 'spec is immutable after creation except resources.requests for bound claims';

/** Only the size of a bound claim may change, and only upwards. */
function validateClaimUpdate(next: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const errors: FieldError[] = [];
  const [spec, before] = [next.spec, old.spec];
  if (spec === undefined || before === undefined) return errors;
  const rest = ({ resources: _resources, volumeName, ...fields }: core.PersistentVolumeClaimSpec) => ({
    ...fields,
    volumeName: before.volumeName ? volumeName : undefined,
  });
  const size = tryParseQuantity(spec.resources?.requests?.['storage']);
  const oldSize = tryParseQuantity(before.resources?.requests?.['storage']);
  const resized = size !== undefined && oldSize !== undefined && compareQuantities(size, oldSize) !== 0;
  if (!deepEqual(rest(spec), rest(before)) || (resized && old.status?.phase !== 'Bound')) {
    return [forbiddenField('spec', IMMUTABLE_CLAIM)];
  }
  if (resized && compareQuantities(size, oldSize) < 0) {
    errors.push(forbiddenField('spec.resources.requests.storage', 'field can not be less than previous value'));
  }
  return errors;
}

function defaultClaim(claim: PersistentVolumeClaim): void {
  claim.status ??= { phase: 'Pending' };
  claim.status.phase ??= 'Pending';
  const { spec } = claim;
  if (spec === undefined) return;
  spec.volumeMode ??= 'Filesystem';
  if (spec.dataSource !== undefined && spec.dataSourceRef === undefined) spec.dataSourceRef = { ...spec.dataSource };
  else if (spec.dataSourceRef !== undefined && spec.dataSource === undefined && spec.dataSourceRef.apiGroup !== undefined) {
    copyRefToSource(spec);
  }
}

/** Older readers know `dataSource` only, which can name snapshots and claims. */
function copyRefToSource(spec: core.PersistentVolumeClaimSpec): void {
  const reference = spec.dataSourceRef;
  if (reference === undefined) return;
  const { apiGroup, kind, name } = reference;
  if (kind === 'VolumeSnapshot' && apiGroup === 'snapshot.storage.k8s.io') spec.dataSource = { apiGroup, kind, name };
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
    validateUpdate(nextObject, oldObject) {
      const [next, old] = [typed<PersistentVolume>(nextObject).spec, typed<PersistentVolume>(oldObject).spec];
      return next?.volumeMode === old?.volumeMode
        ? []
        : [invalidValue('spec.volumeMode', next?.volumeMode, 'field is immutable')];
    },
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
