import { cdiCustomResourceDefinitions } from './cdi-crds.ts';
import type { CustomResourceDefinition } from './crd-table.ts';
import { kubevirtCustomResourceDefinitions } from './kubevirt-crds.ts';
import { olmCustomResourceDefinitions } from './olm-crds.ts';
import { platformCustomResourceDefinitions } from './platform-crds.ts';

export type { CustomResourceDefinition, CustomResourceDefinitionVersion, PrinterColumn } from './crd-table.ts';

/**
 * The kinds the platform brings along, built on each call. Subtrees of the schemas are shared between definitions:
 * treat them as frozen, and serialise before storing.
 */
export function bundledCustomResourceDefinitions(): CustomResourceDefinition[] {
  return [
    ...kubevirtCustomResourceDefinitions(),
    ...cdiCustomResourceDefinitions(),
    ...platformCustomResourceDefinitions(),
    ...olmCustomResourceDefinitions(),
  ];
}
