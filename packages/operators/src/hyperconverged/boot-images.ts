import { isObject } from '@slipway/apimachinery';
import type { Fields, HyperConverged } from '../kinds.ts';
import { compact, fieldsAt, mapsAt, textAt, valueAt } from './spec-paths.ts';

/** On an entry of the HyperConverged: `false` takes the built-in template of the same name away. */
export const ENABLE_ANNOTATION = 'dataimportcrontemplate.kubevirt.io/enable';
export const ARCHITECTURES_ANNOTATION = 'ssp.kubevirt.io/dict.architectures';
const IMMEDIATE = 'cdi.kubevirt.io/storage.bind.immediate.requested';
const REGISTRY = 'docker://quay.io/containerdisks';

const BUILT_IN = [
  { name: 'centos-stream10', image: 'centos-stream:10', size: '10Gi' },
  { name: 'centos-stream9', image: 'centos-stream:9', size: '10Gi' },
  { name: 'fedora', image: 'fedora:latest', size: '5Gi' },
] as const;

/** Names of the built-in templates. */
export const BUILT_IN_NAMES: readonly string[] = BUILT_IN.map(({ name }) => `${name}-image-cron`);

function builtIn({ name, image, size }: (typeof BUILT_IN)[number], schedule: string): Fields {
  return {
    metadata: {
      name: `${name}-image-cron`,
      annotations: { [IMMEDIATE]: 'true', [ARCHITECTURES_ANNOTATION]: 'amd64,arm64,s390x' },
    },
    spec: {
      schedule,
      managedDataSource: name,
      garbageCollect: 'Outdated',
      template: {
        spec: {
          source: { registry: { url: `${REGISTRY}/${image}` } },
          storage: { resources: { requests: { storage: size } } },
        },
      },
    },
  };
}

export interface BootImageTemplates {
  /** For `status.dataImportCronTemplates` of the HyperConverged. */
  readonly listed: readonly Fields[];
  /** What the SSP is given. */
  readonly deployed: readonly Fields[];
}

const nameOf = (template: Fields): string => textAt(template, 'metadata.name');
export const isDisabled = (template: Fields): boolean =>
  fieldsAt(template, 'metadata.annotations')?.[ENABLE_ANNOTATION] === 'false';

/** The built-in templates with what the HyperConverged changes of them and adds, by name. Throws when a name comes twice. */
export function bootImageTemplates(hco: HyperConverged, architectures: readonly string[]): BootImageTemplates {
  const { spec, status, metadata } = hco;
  const own = mapsAt(spec, 'workloadSources.dataImportCronTemplates') ?? [];
  const twice = own.map(nameOf).find((name, index, all) => all.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`${twice} DataImportCronTable is already defined`);
  const schedule = status?.dataImportSchedule ?? scheduleFor(metadata.uid ?? '');
  const isImported = valueAt(spec, 'workloadSources.enableCommonBootImageImport') !== false;
  const common = isImported ? BUILT_IN.map((image) => builtIn(image, schedule)) : [];
  const isMulti = valueAt(spec, 'workloadSources.enableMultiArchBootImageImport') === true;
  const namespace = valueAt(spec, 'workloadSources.commonBootImageNamespace');
  const listed = [
    ...common.flatMap((template) => {
      const changed = own.find((entry) => nameOf(entry) === nameOf(template));
      if (changed !== undefined && isDisabled(changed)) return [];
      return [{ template: changed === undefined ? template : modified(template, changed), commonTemplate: true, changed }];
    }),
    ...own.flatMap((template) => {
      const isCommon = common.some((each) => nameOf(each) === nameOf(template));
      return isCommon || isDisabled(template) ? [] : [{ template, commonTemplate: false, changed: undefined }];
    }),
  ]
    .map(({ template, commonTemplate, changed }) => {
      const placed = commonTemplate && typeof namespace === 'string' ? inNamespace(template, namespace) : template;
      return withStatus(
        completed(placed),
        { commonTemplate, modified: changed !== undefined },
        isMulti ? architectures : undefined,
      );
    })
    .sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  return {
    listed,
    deployed: listed.filter(({ status: state }) => !isUnsupported(state)).map(({ status: _status, ...template }) => template),
  };
}

/** Twice a day, and not at the same minute everywhere. Stable per object, so that it survives a restart before it is stored. */
export function scheduleFor(uid: string): string {
  const number = Array.from(uid, (letter) => letter.charCodeAt(0)).reduce((sum, code) => (sum * 31 + code) >>> 0, 7);
  return `${number % 60} ${Math.floor(number / 60) % 12}/12 * * *`;
}

/** The entry's spec replaces the built-in one; an empty schedule is inherited. */
function modified(template: Fields, entry: Fields): Fields {
  const spec = fieldsAt(entry, 'spec');
  const schedule = valueAt(spec, 'schedule') || valueAt(template, 'spec.schedule');
  return {
    metadata: { ...fieldsAt(template, 'metadata'), ...fieldsAt(entry, 'metadata') },
    spec: spec === undefined ? template['spec'] : { ...spec, schedule },
  };
}

const inNamespace = (template: Fields, namespace: string): Fields => ({
  ...template,
  metadata: { ...fieldsAt(template, 'metadata'), namespace },
});

/** Defaults of a template. */
export function completed(template: Fields): Fields {
  const metadata = fieldsAt(template, 'metadata');
  return {
    metadata: { ...metadata, annotations: { [IMMEDIATE]: 'true', ...fieldsAt(metadata, 'annotations') } },
    spec: { retentionPolicy: 'None', importsToKeep: 1, ...fieldsAt(template, 'spec') },
  };
}

interface Origin {
  readonly commonTemplate: boolean;
  readonly modified: boolean;
}

/** With images of several architectures, those that no node has are not imported. */
function withStatus(
  template: Fields,
  { commonTemplate, modified: isModified }: Origin,
  wanted: readonly string[] | undefined,
): Fields {
  const annotation = fieldsAt(template, 'metadata.annotations')?.[ARCHITECTURES_ANNOTATION];
  const supported = typeof annotation === 'string' ? annotation.split(',').map((name) => name.trim()) : undefined;
  const common = wanted === undefined || supported === undefined ? undefined : supported.filter((name) => wanted.includes(name));
  const status = compact({
    commonTemplate: commonTemplate || undefined,
    modified: isModified || undefined,
    originalSupportedArchitectures: wanted === undefined ? undefined : annotation,
    conditions: common?.length === 0 ? [UNSUPPORTED] : undefined,
  });
  if (common === undefined || common.length === 0) return { ...template, status };
  const metadata = fieldsAt(template, 'metadata');
  const annotations = { ...fieldsAt(metadata, 'annotations'), [ARCHITECTURES_ANNOTATION]: common.join(',') };
  return { ...template, metadata: { ...metadata, annotations }, status };
}

const UNSUPPORTED = {
  type: 'Deployed',
  status: 'False',
  reason: 'UnsupportedArchitectures',
  message: 'DataImportCronTemplate has no supported architectures for the current cluster',
};

const isUnsupported = (status: unknown): boolean => isObject(status) && status['conditions'] !== undefined;
