import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { type GoObject, int, type Value } from '../template/values.ts';

/** A semantic version; missing parts are zero. */
export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly prerelease: string;
  readonly metadata: string;
  readonly original: string;
}

const VERSION = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?$/;
const CONSTRAINT =
  /^\s*(=|!=|>|<|>=|=>|<=|=<|~|~>|\^)?\s*(v?(?:\d+|[xX*])(?:\.(?:\d+|[xX*]))?(?:\.(?:\d+|[xX*]))?(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)\s*$/;

/** Parses a version, with fewer than three numbers too; undefined when it is none. */
export function parseVersion(text: string): Version | undefined {
  const match = VERSION.exec(text);
  if (match === null) return undefined;
  const [, major = '0', minor = '0', patch = '0', prerelease = '', metadata = ''] = match;
  return { major: Number(major), minor: Number(minor), patch: Number(patch), prerelease, metadata, original: text };
}

/** Negative, zero or positive; build metadata does not count. */
export function compareVersions(a: Version, b: Version): number {
  return a.major - b.major || a.minor - b.minor || a.patch - b.patch || comparePrereleases(a.prerelease, b.prerelease);
}

function comparePrereleases(a: string, b: string): number {
  if (a === b) return 0;
  if (a === '' || b === '') return a === '' ? 1 : -1;
  const [left, right] = [a.split('.'), b.split('.')];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const [x, y] = [left[at], right[at]];
    if (x === y) continue;
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    const [xNumber, yNumber] = [/^\d+$/.test(x), /^\d+$/.test(y)];
    if (xNumber && yNumber) return Number(x) - Number(y);
    if (xNumber !== yNumber) return xNumber ? -1 : 1;
    return x < y ? -1 : 1;
  }
  return 0;
}

type Check = (version: Version) => boolean;

/** A constraint such as `>=1.21-0 <2 || ^3.1` as a test; undefined when it is none. */
export function parseConstraint(text: string): Check | undefined {
  const alternatives = text.split('||').map(parseAll);
  if (alternatives.some((alternative) => alternative === undefined)) return undefined;
  return (version) => alternatives.some((checks) => checks?.every((check) => check(version)));
}

function parseAll(text: string): Check[] | undefined {
  const ranged = text.replace(/(\S+)\s+-\s+(\S+)/g, '>=$1 <=$2');
  const parts = ranged
    .trim()
    .split(/\s*,\s*|\s+(?=[=!<>~^v\dxX*])(?<![=!<>~^]\s*)/)
    .filter((part) => part !== '');
  const checks = (parts.length === 0 ? ['*'] : parts).map(parseOne);
  return checks.some((check) => check === undefined) ? undefined : checks.filter((check) => check !== undefined);
}

interface Wanted {
  readonly version: Version;
  /** How many of the numbers are given. */
  readonly given: number;
}

function parseOne(text: string): Check | undefined {
  const match = CONSTRAINT.exec(text);
  if (match === null) return undefined;
  const [, operator = '', source = ''] = match;
  const [, core = '', tail = ''] = /^v?([^-+]*)(.*)$/.exec(source) ?? [];
  const numbers = core.split('.');
  const wild = numbers.findIndex((part) => /[xX*]/.test(part));
  const given = wild === -1 ? numbers.length : wild;
  const version = parseVersion(numbers.slice(0, given).join('.') + (wild === -1 ? tail : '')) ?? parseVersion('0');
  if (version === undefined) return undefined;
  const wanted = { version, given };
  return (candidate) => {
    // pre-releases only count when the constraint names one
    if (candidate.prerelease !== '' && version.prerelease === '') return false;
    return satisfies(candidate, operator, wanted);
  };
}

function satisfies(candidate: Version, operator: string, { version, given }: Wanted): boolean {
  const order = compareVersions(candidate, version);
  const isInRange = order >= 0 && isBelow(candidate, version, given);
  const isPartial = given < 3;
  const tests: Readonly<Record<string, () => boolean>> = {
    '=': () => (isPartial ? isInRange : order === 0),
    '!=': () => (isPartial ? !isInRange : order !== 0),
    '>': () => order > 0 && !(isPartial && isInRange),
    '<': () => order < 0,
    '>=': () => order >= 0,
    '<=': () => order <= 0 || (isPartial && isInRange),
    '^': () => order >= 0 && isCaret(candidate, version, given),
    '~': () => order >= 0 && isBelow(candidate, version, Math.min(given, 2)),
  };
  return tests[SAME_AS[operator] ?? operator]?.() ?? false;
}

/** Other ways to write an operator. */
const SAME_AS: Readonly<Record<string, string>> = { '': '=', '=>': '>=', '=<': '<=', '~>': '~' };

/** Equal in the first `given` numbers. */
function isBelow(candidate: Version, version: Version, given: number): boolean {
  if (given === 0) return true;
  return (
    candidate.major === version.major &&
    (given < 2 || candidate.minor === version.minor) &&
    (given < 3 || candidate.patch === version.patch)
  );
}

function isCaret(candidate: Version, version: Version, given: number): boolean {
  if (given === 0) return true;
  if (version.major > 0 || given === 1) return candidate.major === version.major;
  if (candidate.major !== 0) return false;
  if (version.minor > 0 || given === 2) return candidate.minor === version.minor;
  return candidate.minor === 0 && candidate.patch === version.patch;
}

/** As Masterminds' library prints it. */
export const versionText = ({ major, minor, patch, prerelease, metadata }: Version): string =>
  `${major}.${minor}.${patch}${prerelease && `-${prerelease}`}${metadata && `+${metadata}`}`;

function versionObject(version: Version): GoObject {
  const fields: Readonly<Record<string, Value>> = {
    Major: int(version.major),
    Minor: int(version.minor),
    Patch: int(version.patch),
    Prerelease: version.prerelease,
    Metadata: version.metadata,
    Original: version.original,
    String: versionText(version),
  };
  const compare = define('object', (other: Value) => {
    const text = typeof other === 'object' && other !== null && 'goType' in other ? other.toText() : '';
    const parsed = parseVersion(text);
    if (parsed === undefined) throw new FunctionError('Compare needs a version');
    return int(Math.sign(compareVersions(version, parsed)));
  });
  return {
    goType: '*semver.Version',
    member: (name) => (name === 'Compare' ? compare : Object.hasOwn(fields, name) ? fields[name] : undefined),
    toText: () => versionText(version),
    toJson: () => versionText(version),
  };
}

/** Sprig's semver functions. */
export function semverFunctions(): FunctionTable {
  return {
    semver: define('string', (text: string) => {
      const version = parseVersion(text);
      if (version === undefined) throw new FunctionError('invalid semantic version');
      return versionObject(version);
    }),
    semverCompare: define('string string', (constraint: string, text: string) => {
      const check = parseConstraint(constraint);
      if (check === undefined) throw new FunctionError(`improper constraint: ${constraint}`);
      const version = parseVersion(text);
      if (version === undefined) throw new FunctionError('invalid semantic version');
      return check(version);
    }),
  };
}
