import type { Condition, StructuralSchema, UnstructuredObject } from '@slipway/apimachinery';

export const CRD_GROUP = 'apiextensions.k8s.io';
export const CRD_PLURAL = 'customresourcedefinitions';
export const CRD_CLEANUP_FINALIZER = 'customresourcecleanup.apiextensions.k8s.io';

export interface CrdNames {
  plural: string;
  singular?: string;
  shortNames?: string[];
  kind: string;
  listKind?: string;
  categories?: string[];
}

export interface CrdColumn {
  name: string;
  type: string;
  format?: string;
  description?: string;
  priority?: number;
  jsonPath: string;
}

export interface CrdVersion {
  name: string;
  served: boolean;
  storage: boolean;
  deprecated?: boolean;
  deprecationWarning?: string;
  schema?: { openAPIV3Schema?: StructuralSchema };
  subresources?: {
    status?: Record<string, never>;
    scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelectorPath?: string };
  };
  additionalPrinterColumns?: CrdColumn[];
}

export interface CrdConversion {
  strategy: string;
  webhook?: { clientConfig?: Record<string, unknown>; conversionReviewVersions?: string[] };
}

export interface CrdStatus {
  /** Null until the names have been looked at. */
  conditions?: Condition[] | null;
  acceptedNames?: CrdNames;
  storedVersions?: string[];
}

/** `apiextensions.k8s.io/v1` CustomResourceDefinition. */
export interface Crd extends UnstructuredObject {
  spec: {
    group: string;
    names: CrdNames;
    scope: 'Namespaced' | 'Cluster';
    versions: CrdVersion[];
    conversion?: CrdConversion;
    preserveUnknownFields?: boolean;
  };
  status?: CrdStatus;
}

/** A stored CRD: validation has seen its shape. */
export const asCrd = (object: UnstructuredObject): Crd => object as Crd;

export function crdCondition(crd: Crd, type: string): Condition | undefined {
  return crd.status?.conditions?.find((condition) => condition.type === type);
}

export const isEstablished = (crd: Crd): boolean => crdCondition(crd, 'Established')?.status === 'True';
