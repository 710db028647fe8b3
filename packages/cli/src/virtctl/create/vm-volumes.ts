import { CommandFailure } from '../io.ts';
import { checkQuantity, flagFailure, parseBootOrder, parseParams, type Params, required, splitPrefixedName } from './params.ts';

/** One volume of the VM that is being written, before boot order decides about its disk. */
export interface PlannedVolume {
  readonly name: string;
  readonly volume: object;
  readonly bootOrder: number | undefined;
  /** Whether an instance type or preference can be found by its annotations and labels. */
  readonly isInferable: boolean;
  readonly template?: object;
}

/** Values of the volume flags, each in the order given. */
export interface VolumeFlags {
  readonly volumeContainerdisk?: readonly string[];
  readonly volumePvc?: readonly string[];
  readonly volumeDatasource?: readonly string[];
  readonly volumeClonePvc?: readonly string[];
  readonly volumeBlank?: readonly string[];
  readonly volumeImport?: readonly string[];
}

const COMMON = ['name', 'bootorder', 'size'] as const;
/** Parameters of each import source; the first is what must be there. */
const IMPORT_SOURCES = {
  blank: [],
  gcs: ['url', 'secretref'],
  http: ['url', 'secretref', 'certconfigmap', 'extraheaders', 'secretextraheaders'],
  imageio: ['url', 'diskid', 'secretref', 'certconfigmap'],
  pvc: ['src'],
  registry: ['url', 'secretref', 'certconfigmap', 'pullmethod', 'imagestream'],
  s3: ['url', 'secretref', 'certconfigmap'],
  vddk: ['url', 'uuid', 'backingfile', 'thumbprint', 'secretref', 'initimageurl'],
  snapshot: ['src'],
  ds: ['src'],
} as const;
type ImportType = keyof typeof IMPORT_SOURCES;
type ImportKey = (typeof COMMON)[number] | (typeof IMPORT_SOURCES)[ImportType][number] | 'type' | 'namespace';

/** Field of a DataVolume source for each parameter that is not called like it. */
const SOURCE_FIELDS: Readonly<Record<string, string>> = {
  secretref: 'secretRef',
  certconfigmap: 'certConfigMap',
  extraheaders: 'extraHeaders',
  secretextraheaders: 'secretExtraHeaders',
  diskid: 'diskId',
  pullmethod: 'pullMethod',
  imagestream: 'imageStream',
  backingfile: 'backingFile',
  initimageurl: 'initImageURL',
};
/** Header lists of one header. */
const LISTS: readonly string[] = ['extraheaders', 'secretextraheaders'];
/** Sources that know their own size. */
const SIZED: readonly ImportType[] = ['pvc', 'snapshot', 'ds'];

/**
 * Every volume of the flags in the order in which they boot: those with a boot order first, then container disks,
 * claims, data sources, cloned claims, blank disks and imports. Throws CommandFailure for a flag that makes no sense.
 */
export function planVolumes(vmName: string, flags: VolumeFlags): PlannedVolume[] {
  const kinds: readonly (readonly [readonly string[] | undefined, (text: string, index: number) => PlannedVolume])[] = [
    [flags.volumeContainerdisk, (text, index) => containerDisk(`${vmName}-containerdisk-${index}`, text)],
    [flags.volumePvc, (text) => claim(text)],
    [flags.volumeDatasource, (text, index) => dataVolume(`${vmName}-ds-${index}`, 'volume-datasource', `type:ds,${text}`)],
    [flags.volumeClonePvc, (text, index) => dataVolume(`${vmName}-pvc-${index}`, 'volume-clone-pvc', `type:pvc,${text}`)],
    [flags.volumeBlank, (text, index) => dataVolume(`${vmName}-blank-${index}`, 'volume-blank', `type:blank,${text}`)],
    [flags.volumeImport, (text, index) => dataVolume(`${vmName}-imported-volume-${index}`, 'volume-import', text)],
  ];
  const volumes = kinds.flatMap(([texts, plan]) => (texts ?? []).map(plan));
  assertUnique(
    volumes.map(({ name }) => name),
    (name) => `there is already a volume with name '${name}'`,
  );
  assertUnique(
    volumes.flatMap(({ bootOrder }) => bootOrder ?? []),
    (order) => `bootorder ${order} was specified multiple times`,
  );
  return volumes;
}

/** The volume that boots: the one with the lowest boot order, else the first. */
export function bootVolume(volumes: readonly PlannedVolume[]): PlannedVolume | undefined {
  const ordered = volumes.filter(({ bootOrder }) => bootOrder !== undefined);
  return ordered.toSorted((a, b) => (a.bootOrder ?? 0) - (b.bootOrder ?? 0))[0] ?? volumes[0];
}

function assertUnique<T extends string | number>(values: readonly T[], message: (value: T) => string): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice !== undefined) throw new CommandFailure(message(twice));
}

function containerDisk(defaultName: string, text: string): PlannedVolume {
  const flag = 'volume-containerdisk';
  const params = parseParams(flag, text, ['src', 'name', 'bootorder']);
  const name = params.name ?? defaultName;
  return {
    name,
    volume: { containerDisk: { image: required(flag, params, 'src') }, name },
    bootOrder: parseBootOrder(flag, params.bootorder),
    isInferable: false,
  };
}

function claim(text: string): PlannedVolume {
  const flag = 'volume-pvc';
  const params = parseParams(flag, text, ['src', 'name', 'bootorder']);
  const source = splitPrefixedName(flag, required(flag, params, 'src'));
  if (source.prefix !== undefined)
    throw flagFailure(flag, 'not allowed to specify namespace of PVC: a VM uses claims of its own namespace');
  const name = params.name ?? source.name;
  return {
    name,
    volume: { name, persistentVolumeClaim: { claimName: source.name } },
    bootOrder: parseBootOrder(flag, params.bootorder),
    isInferable: true,
  };
}

function isImportType(type: string): type is ImportType {
  return Object.hasOwn(IMPORT_SOURCES, type);
}

function dataVolume(defaultName: string, flag: string, text: string): PlannedVolume {
  const everyKey: ImportKey[] = ['type', 'namespace', ...COMMON, ...Object.values(IMPORT_SOURCES).flat()];
  const params = parseParams<ImportKey>(flag, text, everyKey);
  const type = required(flag, params, 'type');
  if (!isImportType(type))
    throw flagFailure(flag, `unsupported source type ${type}: use one of ${Object.keys(IMPORT_SOURCES).join(', ')}`);
  const allowed: readonly string[] = ['type', ...COMMON, ...IMPORT_SOURCES[type]];
  const strange = Object.keys(params).filter((key) => !allowed.includes(key));
  if (strange.length > 0) throw flagFailure(flag, `unknown param(s) for type ${type}: ${strange.join(', ')}`);
  if (params.size === undefined && !SIZED.includes(type)) throw flagFailure(flag, 'size must be specified');
  const name = params.name ?? defaultName;
  return {
    name,
    volume: { dataVolume: { name }, name },
    bootOrder: parseBootOrder(flag, params.bootorder),
    isInferable: type === 'pvc' || type === 'ds' || type === 'registry' || type === 'snapshot',
    template: {
      metadata: { creationTimestamp: null, name },
      spec: {
        ...dataVolumeSource(flag, type, params),
        storage: {
          resources: params.size === undefined ? {} : { requests: { storage: checkQuantity(flag, params.size) } },
        },
      },
    },
  };
}

function dataVolumeSource(flag: string, type: ImportType, params: Params<ImportKey>): object {
  if (type === 'blank') return { source: { blank: {} } };
  if (type === 'pvc' || type === 'snapshot' || type === 'ds') {
    const { prefix, name } = splitPrefixedName(flag, required(flag, params, 'src'));
    const reference = { name, ...(prefix !== undefined && { namespace: prefix }) };
    return type === 'ds' ? { sourceRef: { kind: 'DataSource', ...reference } } : { source: { [type]: reference } };
  }
  const keys: readonly (keyof Params<ImportKey>)[] = IMPORT_SOURCES[type];
  required(flag, params, 'url');
  const fields = keys.flatMap((key): [string, unknown][] => {
    const value = params[key];
    return value === undefined ? [] : [[SOURCE_FIELDS[key] ?? key, LISTS.includes(key) ? [value] : value]];
  });
  return { source: { [type]: Object.fromEntries(fields) } };
}
