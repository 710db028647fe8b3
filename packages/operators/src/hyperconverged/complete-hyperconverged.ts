import { isObject, type UnstructuredObject } from '@slipway/apimachinery';
import type { Fields } from '../kinds.ts';
import { completed, isDisabled } from './boot-images.ts';
import { convertHyperConverged } from './convert-versions.ts';
import { compact, fieldsAt, mapsAt, valueAt } from './spec-paths.ts';

/**
 * Defaults that depend on more than the schema; undefined for no change. `workers` is how many nodes there are for
 * guests, on an update.
 */
export function completeHyperConverged(object: UnstructuredObject, workers: number | undefined): UnstructuredObject | undefined {
  const isFlat = object.apiVersion.endsWith('/v1beta1');
  // fields in the older layout may be written to v1 as well: they are moved where they belong
  const next = isFlat ? object : convertHyperConverged(object, 'v1');
  const spec = isObject(next['spec']) ? next['spec'] : {};
  const virtualization = isFlat ? spec : (fieldsAt(spec, 'virtualization') ?? {});
  const sources = isFlat ? spec : (fieldsAt(spec, 'workloadSources') ?? {});
  const virtualizationNext = compact({ ...virtualization, ...virtualizationDefaults(virtualization, workers) });
  const sourcesNext = compact({
    ...sources,
    dataImportCronTemplates: mapsAt(sources, 'dataImportCronTemplates')?.map(withDefaults),
  });
  const specNext = isFlat
    ? { ...spec, ...virtualizationNext, ...sourcesNext, tuningPolicy: virtualizationNext['tuningPolicy'] }
    : {
        ...spec,
        virtualization: virtualizationNext,
        ...(Object.keys(sourcesNext).length > 0 && { workloadSources: sourcesNext }),
      };
  return { ...next, spec: compact(specNext) };
}

function virtualizationDefaults(written: Fields, workers: number | undefined): Fields {
  const isUnset = (field: string): boolean => written[field] === undefined;
  return {
    ...(workers === undefined && isUnset('ksmConfiguration') && { ksmConfiguration: {} }),
    // where guests could move, the strategy is left to the administrator: LiveMigrate blocks drains of VMs that cannot
    ...(workers !== undefined && workers < 2 && isUnset('evictionStrategy') && { evictionStrategy: 'None' }),
    ...(written['tuningPolicy'] === 'highBurst' && { tuningPolicy: undefined }),
  };
}

const withDefaults = (template: Fields): Fields =>
  isDisabled(template) || valueAt(template, 'spec') === undefined ? template : completed(template);
