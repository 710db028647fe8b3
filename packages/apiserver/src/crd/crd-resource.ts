import { type UnstructuredObject, cloneJson, deepEqual } from '@slipway/apimachinery';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { nameColumn } from '../table/table.ts';
import { checkCrdShape } from './crd-shape.ts';
import { CRD_CLEANUP_FINALIZER, CRD_GROUP, CRD_PLURAL, type Crd, type CrdVersion, asCrd } from './crd-types.ts';
import { validateCrd, validateCrdUpdate } from './validate-crd.ts';

/** Fills what a CRD may leave out, after its JSON types were checked. */
export function defaultCrd(object: UnstructuredObject): void {
  const { spec } = asCrd(object);
  if (typeof spec !== 'object' || spec === null || typeof spec.names !== 'object' || spec.names === null) return;
  spec.names.singular ||= (spec.names.kind ?? '').toLowerCase();
  spec.names.listKind ||= `${spec.names.kind ?? ''}List`;
  spec.conversion ??= { strategy: 'None' };
  for (const version of spec.versions ?? []) dropZeroPriorities(version);
  if (spec.preserveUnknownFields === false) delete spec.preserveUnknownFields;
}

function dropZeroPriorities({ additionalPrinterColumns = [] }: CrdVersion): void {
  for (const column of additionalPrinterColumns) if (column.priority === 0) delete column.priority;
}

function storedVersionsOf(crd: Crd, before: readonly string[] = []): string[] {
  const storage = crd.spec?.versions?.find((version) => version.storage)?.name;
  return storage === undefined || before.includes(storage) ? [...before] : [...before, storage];
}

/** The resource whose objects define other resources. */
export function crdResource(): ResourceDefinition {
  return {
    group: CRD_GROUP,
    version: 'v1',
    kind: 'CustomResourceDefinition',
    plural: CRD_PLURAL,
    singular: '',
    listKind: 'CustomResourceDefinitionList',
    shortNames: ['crd', 'crds'],
    categories: ['api-extensions'],
    namespaced: false,
    verbs: ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'],
    subresources: { status: true },
    custom: false,
    strategy: {
      hasGeneration: true,
      default(object) {
        checkCrdShape(object);
        defaultCrd(object);
      },
      prepareForCreate(object) {
        const crd = asCrd(object);
        crd.status = { conditions: null, acceptedNames: { plural: '', kind: '' }, storedVersions: storedVersionsOf(crd) };
      },
      prepareForUpdate(object, before) {
        const crd = asCrd(object);
        const storedVersions = storedVersionsOf(crd, asCrd(before).status?.storedVersions);
        if (!deepEqual(storedVersions, crd.status?.storedVersions))
          crd.status = { ...cloneJson(asCrd(before).status), storedVersions };
      },
      validate: (object) => validateCrd(asCrd(object)),
      validateUpdate: (next, old) => validateCrdUpdate(asCrd(next), asCrd(old)),
      onDeletionRequested: markTerminating,
    },
    columns: [
      nameColumn,
      {
        name: 'Created At',
        type: 'date',
        format: '',
        description: 'When this object was created',
        priority: 0,
        cell: (object) => object.metadata.creationTimestamp ?? '',
      },
    ],
    storageVersionHash: 'jfWCUB31mvA=',
  };
}

function markTerminating(object: UnstructuredObject): void {
  const crd = asCrd(object);
  const lastTransitionTime = crd.metadata.deletionTimestamp ?? null;
  const others = (crd.status?.conditions ?? []).filter(({ type }) => type !== 'Terminating');
  if (!crd.metadata.finalizers?.includes(CRD_CLEANUP_FINALIZER)) return;
  crd.status = {
    ...crd.status,
    conditions: [
      ...others,
      {
        type: 'Terminating',
        status: 'True',
        lastTransitionTime,
        reason: 'InstanceDeletionPending',
        message: 'CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon',
      },
    ],
  };
}
