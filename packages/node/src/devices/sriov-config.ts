/** One resource that the SR-IOV network device plugin is configured to offer. */
export interface SriovResource {
  /** With its prefix, for example `intel.com/vfs`. */
  readonly resourceName: string;
  /** A device that meets all conditions of any of them belongs to the resource. */
  readonly selectors: readonly SriovSelector[];
}

export interface SriovSelector {
  readonly vendors: readonly string[];
  readonly devices: readonly string[];
  readonly drivers: readonly string[];
  readonly pciAddresses: readonly string[];
  readonly acpiIndexes: readonly string[];
  /** Physical functions by the names of their links, or by address, with some of their virtual functions. */
  readonly pfNames: readonly FunctionRange[];
  readonly rootDevices: readonly FunctionRange[];
}

export interface FunctionRange {
  readonly name: string;
  /** Numbers of virtual functions; absent: all. */
  readonly indexes?: readonly number[];
}

/** What the plugin's resources are called when the configuration does not say otherwise. */
const DEFAULT_PREFIX = 'intel.com';
const MAX_FUNCTIONS = 256;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];

/** Reads the configuration of the SR-IOV network device plugin. Throws what is wrong with it. */
export function parseSriovConfig(content: string): readonly SriovResource[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch (error) {
    throw new Error('The configuration of SR-IOV resources is not JSON', { cause: error });
  }
  const entries = isObject(parsed) ? parsed['resourceList'] : undefined;
  if (!Array.isArray(entries)) throw new Error('The configuration of SR-IOV resources has no "resourceList"');
  return entries.map(resourceOf);
}

function resourceOf(entry: unknown): SriovResource {
  if (!isObject(entry) || typeof entry['resourceName'] !== 'string' || !/^[A-Za-z0-9_.-]+$/.test(entry['resourceName']))
    throw new Error('A resource of the SR-IOV configuration has no "resourceName" of letters, digits, "_", "-" and "."');
  const { resourceName, resourcePrefix, selectors } = entry;
  const lists = Array.isArray(selectors) ? selectors : [selectors ?? {}];
  const prefix = typeof resourcePrefix === 'string' && resourcePrefix !== '' ? resourcePrefix : DEFAULT_PREFIX;
  return { resourceName: `${prefix}/${resourceName}`, selectors: lists.filter(isObject).map(selectorOf) };
}

function selectorOf(selector: Record<string, unknown>): SriovSelector {
  return {
    vendors: textsOf(selector['vendors']).map((id) => id.toLowerCase()),
    devices: textsOf(selector['devices']).map((id) => id.toLowerCase()),
    drivers: textsOf(selector['drivers']),
    pciAddresses: textsOf(selector['pciAddresses']),
    acpiIndexes: textsOf(selector['acpiIndexes']),
    pfNames: textsOf(selector['pfNames']).map(rangeOf),
    rootDevices: textsOf(selector['rootDevices']).map(rangeOf),
  };
}

/** `ens1f0` or `ens1f0#0-3,5`. */
function rangeOf(written: string): FunctionRange {
  const [name = '', ranges] = written.split('#');
  if (ranges === undefined) return { name };
  const indexes = ranges.split(',').flatMap((range) => {
    const [first = Number.NaN, last = first] = range.split('-').map(Number);
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 0 || last < first || last >= MAX_FUNCTIONS)
      throw new Error(
        `"${written}" of the SR-IOV configuration is not a link with numbers of virtual functions like "ens1f0#0-3"`,
      );
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  return { name, indexes };
}
