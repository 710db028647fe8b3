import type { StorageClass, storage } from '@slipway/api';
import {
  type FieldError,
  type UnstructuredObject,
  checkQualifiedName,
  deepEqual,
  forbiddenField,
  invalidValue,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import { oneOf } from '../core/pod-validation.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

const GROUP = 'storage.k8s.io';
const BINDING_MODES = ['Immediate', 'WaitForFirstConsumer'];
const RECLAIM_POLICIES = ['Delete', 'Retain'];
const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

const storageClassKind: BuiltinKind = {
  group: GROUP,
  kind: 'StorageClass',
  plural: 'storageclasses',
  definition: 'storage.v1.StorageClass',
  shortNames: ['sc'],
  cluster: true,
  strategy: {
    deleteReturnsObject: true,
    default(object) {
      const storageClass = typed<StorageClass>(object);
      storageClass.reclaimPolicy ??= 'Delete';
      storageClass.volumeBindingMode ??= 'Immediate';
    },
    validate(object) {
      const storageClass = typed<StorageClass>(object);
      const { provisioner, parameters = {}, allowedTopologies = [] } = storageClass;
      const errors: FieldError[] = provisioner ? [] : [requiredValue('provisioner')];
      if (provisioner)
        for (const text of checkQualifiedName(provisioner.toLowerCase()))
          errors.push(invalidValue('provisioner', provisioner, text));
      if ('' in parameters) errors.push(invalidValue('parameters', '', 'field can not be empty.'));
      allowedTopologies.forEach(({ matchLabelExpressions = [] }, index) =>
        matchLabelExpressions.forEach((expression: { key?: string; values?: readonly string[] }, place) => {
          const { key = '', values = [] } = expression; // published as required, but a body may lack them
          const path = `allowedTopologies[${index}].matchLabelExpressions[${place}]`;
          if (values.length === 0) errors.push(requiredValue(`${path}.values`));
          for (const text of checkQualifiedName(key)) errors.push(invalidValue(`${path}.key`, key, text));
        }),
      );
      oneOf(storageClass.reclaimPolicy, RECLAIM_POLICIES, 'reclaimPolicy', errors);
      oneOf(storageClass.volumeBindingMode, BINDING_MODES, 'volumeBindingMode', errors);
      return errors;
    },
    validateUpdate(next, old) {
      return ['parameters', 'provisioner', 'reclaimPolicy', 'volumeBindingMode']
        .filter((field) => !deepEqual(next[field], old[field]))
        .map((field) => forbiddenField(field, `updates to ${field} are forbidden.`));
    },
  },
  columns: [
    {
      ...nameColumn,
      cell: (object) => `${object.metadata.name}${object.metadata.annotations?.[DEFAULT_CLASS] === 'true' ? ' (default)' : ''}`,
    },
    column('Provisioner', (object) => typed<StorageClass>(object).provisioner),
    column('ReclaimPolicy', (object) => typed<StorageClass>(object).reclaimPolicy ?? ''),
    column('VolumeBindingMode', (object) => typed<StorageClass>(object).volumeBindingMode ?? ''),
    column('AllowVolumeExpansion', (object) => typed<StorageClass>(object).allowVolumeExpansion ?? false),
    ageColumn,
  ],
};

const LIFECYCLE_MODES = ['Persistent', 'Ephemeral'];
const FS_GROUP_POLICIES = ['File', 'None', 'ReadWriteOnceWithFSType'];
type Driver = { spec?: storage.CSIDriverSpec };

const csiDriverKind: BuiltinKind = {
  group: GROUP,
  kind: 'CSIDriver',
  plural: 'csidrivers',
  definition: 'storage.v1.CSIDriver',
  cluster: true,
  strategy: {
    allowUnconditionalUpdate: false,
    deleteReturnsObject: true,
    default(object) {
      const spec = (typed<Driver>(object).spec ??= {});
      spec.attachRequired ??= true;
      spec.podInfoOnMount ??= false;
      spec.volumeLifecycleModes ??= ['Persistent'];
      spec.storageCapacity ??= false;
      spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType';
      spec.requiresRepublish ??= false;
    },
    validate(object) {
      const { spec } = typed<Driver>(object);
      const errors: FieldError[] = [];
      for (const mode of spec?.volumeLifecycleModes ?? []) {
        if (!LIFECYCLE_MODES.includes(mode)) errors.push(unsupportedValue('spec.volumeLifecycleModes', mode, LIFECYCLE_MODES));
      }
      oneOf(spec?.fsGroupPolicy, FS_GROUP_POLICIES, 'spec.fsGroupPolicy', errors);
      return errors;
    },
  },
  columns: [
    nameColumn,
    column('AttachRequired', (object) => typed<Driver>(object).spec?.attachRequired ?? true, { type: 'boolean' }),
    column('PodInfoOnMount', (object) => typed<Driver>(object).spec?.podInfoOnMount ?? false, { type: 'boolean' }),
    column('StorageCapacity', (object) => typed<Driver>(object).spec?.storageCapacity ?? false, { type: 'boolean' }),
    column('TokenRequests', () => '<unset>'),
    column('RequiresRepublish', (object) => typed<Driver>(object).spec?.requiresRepublish ?? false, { type: 'boolean' }),
    column('Modes', (object) => (typed<Driver>(object).spec?.volumeLifecycleModes ?? []).join(',')),
    ageColumn,
  ],
};

type CsiNode = { spec?: storage.CSINodeSpec };
type Attachment = { spec?: storage.VolumeAttachmentSpec; status?: storage.VolumeAttachmentStatus };

function validateCsiNode(object: UnstructuredObject): FieldError[] {
  const errors: FieldError[] = [];
  (typed<CsiNode>(object).spec?.drivers ?? []).forEach(({ name, nodeID }, index) => {
    if (!name) errors.push(requiredValue(`spec.drivers[${index}].name`));
    if (!nodeID) errors.push(requiredValue(`spec.drivers[${index}].nodeID`));
  });
  return errors;
}

function validateAttachment(object: UnstructuredObject): FieldError[] {
  const { attacher, source, nodeName } = typed<Attachment>(object).spec ?? {};
  const errors: FieldError[] = attacher ? [] : [requiredValue('spec.attacher')];
  const given = [source?.inlineVolumeSpec, source?.persistentVolumeName].filter((one) => one !== undefined).length;
  if (given !== 1) {
    errors.push(requiredValue('spec.source', 'must specify exactly one of inlineVolumeSpec and persistentVolumeName'));
  }
  if (!nodeName) errors.push(requiredValue('spec.nodeName'));
  return errors;
}

export const storageKinds: readonly BuiltinKind[] = [
  storageClassKind,
  csiDriverKind,
  {
    group: GROUP,
    kind: 'CSINode',
    plural: 'csinodes',
    definition: 'storage.v1.CSINode',
    cluster: true,
    strategy: { allowUnconditionalUpdate: false, deleteReturnsObject: true, validate: validateCsiNode },
    columns: [
      nameColumn,
      column('Drivers', (object) => typed<CsiNode>(object).spec?.drivers?.length ?? 0, { type: 'integer' }),
      ageColumn,
    ],
  },
  {
    group: GROUP,
    kind: 'CSIStorageCapacity',
    plural: 'csistoragecapacities',
    definition: 'storage.v1.CSIStorageCapacity',
    columns: [
      nameColumn,
      column('StorageClassName', (object) => object['storageClassName'] ?? ''),
      column('Capacity', (object) => object['capacity'] ?? '<unset>'),
      ageColumn,
    ],
  },
  {
    group: GROUP,
    kind: 'VolumeAttachment',
    plural: 'volumeattachments',
    definition: 'storage.v1.VolumeAttachment',
    cluster: true,
    status: true,
    strategy: {
      allowUnconditionalUpdate: false,
      deleteReturnsObject: true,
      prepareForCreate(object) {
        object['status'] = { attached: false };
      },
      validate: validateAttachment,
      validateUpdate: (next, old) =>
        deepEqual(next['spec'], old['spec']) ? [] : [invalidValue('spec', next['spec'], 'field is immutable')],
    },
    columns: [
      nameColumn,
      column('Attacher', (object) => typed<Attachment>(object).spec?.attacher ?? ''),
      column('PV', (object) => typed<Attachment>(object).spec?.source?.persistentVolumeName ?? ''),
      column('Node', (object) => typed<Attachment>(object).spec?.nodeName ?? ''),
      column('Attached', (object) => typed<Attachment>(object).status?.attached ?? false, { type: 'boolean' }),
      ageColumn,
    ],
  },
];
