import type { DataImportCron, DataSource } from '@slipway/api';
import type { Fields } from '../kinds.ts';
import { fieldsAt, textAt } from '../hyperconverged/spec-paths.ts';
import { DATA_SOURCES } from './system-table.ts';

const LABELS = { 'app.kubernetes.io/managed-by': 'ssp-operator', 'app.kubernetes.io/part-of': 'hyperconverged-cluster' };
const ARCHITECTURES = 'ssp.kubevirt.io/dict.architectures';

/** The DataImportCron of a template in the SSP object. */
export function importCronOf(template: Fields, imagesNamespace: string): DataImportCron {
  const { [ARCHITECTURES]: _architectures, ...annotations } = fieldsAt(template, 'metadata.annotations') ?? {};
  return {
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataImportCron',
    metadata: {
      name: textAt(template, 'metadata.name'),
      namespace: textAt(template, 'metadata.namespace', imagesNamespace),
      labels: { ...(fieldsAt(template, 'metadata.labels') as Record<string, string> | undefined), ...LABELS }, // texts by their schema
      annotations: annotations as Record<string, string>, // as above
    },
    spec: template['spec'] as DataImportCron['spec'], // checked when it is created
  };
}

/** DataSources for images that somebody puts there by hand; those that a cron keeps are its own. */
export function ownedDataSources(imagesNamespace: string, crons: readonly DataImportCron[]): readonly DataSource[] {
  const managed = new Set(crons.map(({ spec }) => spec.managedDataSource));
  return DATA_SOURCES.filter((name) => !managed.has(name)).map((name) => ({
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataSource',
    metadata: { name, namespace: imagesNamespace, labels: LABELS },
    spec: { source: { pvc: { name, namespace: imagesNamespace } } },
  }));
}
