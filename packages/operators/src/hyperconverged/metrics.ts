import { gauge, type MetricFamily } from '@slipway/runtime';
import type { Fields, HyperConverged } from '../kinds.ts';
import { ARCHITECTURES_ANNOTATION } from './boot-images.ts';
import { JSON_PATCH_ANNOTATIONS, unsafeAnnotations } from './json-patch-annotation.ts';
import { operandLabel, OPERANDS } from './operands.ts';
import { fieldsAt, textAt, valueAt } from './spec-paths.ts';

/** Shown from the beginning, so that the first change counts. */
const OPERAND_LABELS = OPERANDS.map(operandLabel);
const HEALTH = new Map([
  ['healthy', 0],
  ['warning', 1],
  ['error', 2],
]);

/** Metrics of the HyperConverged operator. `overwritten`: edits of operands by hand that were undone. */
export function hyperConvergedMetrics(hco: HyperConverged | undefined, overwritten: ReadonlyMap<string, number>): MetricFamily[] {
  const overcommit = valueAt(hco?.spec, 'virtualization.higherWorkloadDensity.memoryOvercommitPercentage');
  return [
    gauge(
      'kubevirt_hco_hyperconverged_cr_exists',
      'Indicates whether the HyperConverged custom resource exists (1) or not (0)',
      hco ? 1 : 0,
    ),
    gauge(
      'kubevirt_hco_system_health_status',
      'Indicates whether the system health status is healthy (0), warning (1), or error (2), by aggregating the conditions of HCO and its secondary resources',
      HEALTH.get(hco?.status?.systemHealthStatus ?? '') ?? 0,
    ),
    {
      name: 'kubevirt_hco_out_of_band_modifications_total',
      help: 'Count of out-of-band modifications overwritten by HCO',
      type: 'counter',
      samples: OPERAND_LABELS.map((label) => ({ labels: { component_name: label }, value: overwritten.get(label) ?? 0 })),
    },
    {
      name: 'kubevirt_hco_unsafe_modifications',
      help: 'Count of unsafe modifications in the HyperConverged annotations',
      type: 'gauge',
      samples: Object.values(JSON_PATCH_ANNOTATIONS).map((name) => ({
        labels: { annotation_name: name },
        value: hco !== undefined && unsafeAnnotations(hco).includes(name) ? patchLength(hco, name) : 0,
      })),
    },
    gauge(
      'kubevirt_hco_memory_overcommit_percentage',
      'Indicates the cluster-wide configured VM memory overcommit percentage',
      typeof overcommit === 'number' ? overcommit : 100,
    ),
    ...architectureFamilies(hco),
  ];
}

/** About boot images of several architectures; without the feature there is nothing to say of single templates. */
function architectureFamilies(hco: HyperConverged | undefined): MetricFamily[] {
  const isMulti = valueAt(hco?.spec, 'workloadSources.enableMultiArchBootImageImport') === true;
  const templates = isMulti ? (hco?.status?.dataImportCronTemplates ?? []) : [];
  const perTemplate = (name: string, help: string, value: (template: Fields) => boolean): MetricFamily => ({
    ...{ name, help, type: 'gauge' },
    samples: templates.map((template) => ({
      labels: {
        data_import_cron_name: textAt(template, 'metadata.name'),
        managed_data_source_name: textAt(template, 'spec.managedDataSource'),
      },
      value: value(template) ? 1 : 0,
    })),
  });
  return [
    gauge(
      'kubevirt_hco_multi_arch_boot_images_enabled',
      'Indicates if the multi-arch boot images feature is enabled (1) or not (0)',
      isMulti ? 1 : 0,
    ),
    perTemplate(
      'kubevirt_hco_dataimportcrontemplate_with_architecture_annotation',
      'Indicates whether the DataImportCronTemplate has the architectures annotation (1) or not (0)',
      (template) => fieldsAt(template, 'metadata.annotations')?.[ARCHITECTURES_ANNOTATION] !== undefined,
    ),
    perTemplate(
      'kubevirt_hco_dataimportcrontemplate_with_supported_architectures',
      'Indicates whether the DataImportCronTemplate has supported architectures (1) or not (0)',
      (template) => valueAt(template, 'status.conditions') === undefined,
    ),
  ];
}

function patchLength(hco: HyperConverged, name: string): number {
  try {
    const operations: unknown = JSON.parse(hco.metadata.annotations?.[name] ?? '[]');
    return Array.isArray(operations) ? operations.length : 1;
  } catch {
    return 1;
  }
}
