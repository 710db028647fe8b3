import type { Registrar } from './register.ts';

const STRICT =
  /^(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$/;
const MAX_LENGTH = 256;

class Semver {
  readonly numbers: readonly bigint[];
  readonly prerelease: readonly string[];
  constructor(numbers: readonly bigint[], prerelease: readonly string[]) {
    this.numbers = numbers;
    this.prerelease = prerelease;
  }
  equals(other: unknown): boolean {
    return other instanceof Semver && compare(this, other) === 0;
  }
}

/** With `normalize`: `v1.2` is 1.2.0, and `01` is 1. */
function parse(text: string, normalize: boolean): Semver | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const match = STRICT.exec(normalize ? normalized(text) : text);
  if (match === null) return undefined;
  return new Semver(
    [match[1], match[2], match[3]].map((part) => BigInt(part ?? 0)),
    match[4]?.split('.') ?? [],
  );
}

function normalized(text: string): string {
  const [, core = '', rest = ''] = /^v?([0-9.]*)(.*)$/s.exec(text.trim()) ?? [];
  const parts = core.split('.').map((part) => part.replace(/^0+(?=\d)/, ''));
  while (parts.length < 3) parts.push('0');
  return `${parts.join('.')}${rest}`;
}

function compare(a: Semver, b: Semver): number {
  for (let index = 0; index < 3; index++) {
    const [left = 0n, right = 0n] = [a.numbers[index], b.numbers[index]];
    if (left !== right) return left < right ? -1 : 1;
  }
  return comparePrerelease(a.prerelease, b.prerelease);
}

function comparePrerelease(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return Math.sign(b.length - a.length) * (a.length === b.length ? 0 : 1);
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [left, right] = [a[index], b[index]];
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
    const order = compareIdentifiers(left, right);
    if (order !== 0) return order;
  }
  return 0;
}

/** Numbers come before texts. */
function compareIdentifiers(a: string, b: string): number {
  const [isLeft, isRight] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isLeft && isRight) return Number(BigInt(a) > BigInt(b)) - Number(BigInt(a) < BigInt(b));
  if (isLeft !== isRight) return isLeft ? -1 : 1;
  return a < b ? -1 : Number(a > b);
}

/** `semver('1.2.3')` and what can be done with it. */
export function registerSemver({ on, type }: Registrar): void {
  const name = 'kubernetes.Semver';
  type(name, Semver, (a, b) => a.equals(b));
  const make = (text: string, normalize = false): Semver => {
    const version = parse(text, normalize);
    if (version === undefined) throw new Error(`Semver parse error during conversion from string: ${text}`);
    return version;
  };
  on('isSemver(string): bool', (text: string) => parse(text, false) !== undefined);
  on('isSemver(string, bool): bool', (text: string, normalize: boolean) => parse(text, normalize) !== undefined);
  on(`semver(string): ${name}`, (text: string) => make(text));
  on(`semver(string, bool): ${name}`, make);
  on(`${name}.compareTo(${name}): int`, (a: Semver, b: Semver) => BigInt(compare(a, b)));
  on(`${name}.isGreaterThan(${name}): bool`, (a: Semver, b: Semver) => compare(a, b) > 0);
  on(`${name}.isLessThan(${name}): bool`, (a: Semver, b: Semver) => compare(a, b) < 0);
  ['major', 'minor', 'patch'].forEach((part, index) => {
    on(`${name}.${part}(): int`, ({ numbers }: Semver) => numbers[index] ?? 0n);
  });
}
