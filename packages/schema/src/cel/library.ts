import { isIP } from 'node:net';
import type { Environment } from '@marcbachmann/cel-js';
import {
  type Quantity,
  addQuantities,
  compareQuantities,
  parseQuantity,
  quantityOf,
  quantityValue,
  subtractQuantities,
  tryParseQuantity,
} from '@slipway/apimachinery';
import { isCidr } from '../formats.ts';
import { findAll, findFirst, patternOf } from '../patterns/pattern.ts';

class CelQuantity {
  readonly quantity: Quantity;
  constructor(quantity: Quantity) {
    this.quantity = quantity;
  }
}

class CelUrl {
  readonly url: URL;
  constructor(url: URL) {
    this.url = url;
  }
}

/** Adds the functions that Kubernetes offers beyond the language itself. */
export function registerLibrary(env: Environment): void {
  registerLists(env);
  registerQuantities(env);
  registerNetwork(env);
  env.registerFunction('string.matches__(string): bool', (text: string, pattern: string) => patternOf(pattern).test(text));
  env.registerFunction('string.find(string): string', (text: string, pattern: string) => findFirst(text, pattern) ?? '');
  env.registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) => findAll(text, pattern));
}

type Scalar = bigint | number | string | boolean;

function registerLists(env: Environment): void {
  const ordered = (a: Scalar, b: Scalar): boolean => a <= b;
  env.registerFunction('list.isSorted(): bool', (list: Scalar[]) =>
    list.every((item, index) => index === 0 || ordered(list[index - 1] ?? item, item)),
  );
  env.registerFunction('list.sum(): dyn', (list: (bigint | number)[]) =>
    list.reduce<bigint | number>(
      (sum, item) => (typeof sum === 'bigint' && typeof item === 'bigint' ? sum + item : Number(sum) + Number(item)),
      0n,
    ),
  );
  env.registerFunction('list.min(): dyn', (list: Scalar[]) => extreme(list, 'min', (a, b) => a < b));
  env.registerFunction('list.max(): dyn', (list: Scalar[]) => extreme(list, 'max', (a, b) => a > b));
  env.registerFunction('list.indexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.indexOf(item)));
  env.registerFunction('list.lastIndexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.lastIndexOf(item)));
}

function extreme(list: readonly Scalar[], name: string, better: (a: Scalar, b: Scalar) => boolean): Scalar {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error(`${name} called on empty list`);
  return rest.reduce((best, item) => (better(item, best) ? item : best), first);
}

function registerQuantities(env: Environment): void {
  env.registerType('Quantity', CelQuantity);
  const compare = (a: CelQuantity, b: CelQuantity): number => compareQuantities(a.quantity, b.quantity);
  env.registerFunction('isQuantity(string): bool', (text: string) => tryParseQuantity(text) !== undefined);
  env.registerFunction('quantity(string): Quantity', (text: string) => new CelQuantity(parseQuantity(text)));
  env.registerFunction('Quantity.compareTo(Quantity): int', (a: CelQuantity, b: CelQuantity) => BigInt(compare(a, b)));
  env.registerFunction('Quantity.isGreaterThan(Quantity): bool', (a: CelQuantity, b: CelQuantity) => compare(a, b) > 0);
  env.registerFunction('Quantity.isLessThan(Quantity): bool', (a: CelQuantity, b: CelQuantity) => compare(a, b) < 0);
  env.registerFunction('Quantity.sign(): int', ({ quantity }: CelQuantity) => BigInt(compareQuantities(quantity, quantityOf(0))));
  env.registerFunction('Quantity.isInteger(): bool', ({ quantity }: CelQuantity) => quantity.nano % quantityOf(1).nano === 0n);
  env.registerFunction('Quantity.asInteger(): int', ({ quantity }: CelQuantity) => quantityValue(quantity));
  env.registerFunction('Quantity.asApproximateFloat(): double', ({ quantity }: CelQuantity) => Number(quantity.nano) / 1e9);
  env.registerFunction(
    'Quantity.add(Quantity): Quantity',
    (a: CelQuantity, b: CelQuantity) => new CelQuantity(addQuantities(a.quantity, b.quantity)),
  );
  env.registerFunction(
    'Quantity.sub(Quantity): Quantity',
    (a: CelQuantity, b: CelQuantity) => new CelQuantity(subtractQuantities(a.quantity, b.quantity)),
  );
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function registerNetwork(env: Environment): void {
  env.registerFunction('isIP(string): bool', (text: string) => isIP(text) !== 0);
  env.registerFunction('isCIDR(string): bool', (text: string) => isCidr(text));
  env.registerType('URL', CelUrl);
  env.registerFunction('isURL(string): bool', (text: string) => parseUrl(text) !== undefined || text.startsWith('/'));
  env.registerFunction('url(string): URL', (text: string) => {
    const url = parseUrl(text);
    if (url === undefined) throw new Error(`URL parse error during conversion from string: ${text}`);
    return new CelUrl(url);
  });
  env.registerFunction('URL.getScheme(): string', ({ url }: CelUrl) => url.protocol.slice(0, -1));
  env.registerFunction('URL.getHost(): string', ({ url }: CelUrl) => url.host);
  env.registerFunction('URL.getHostname(): string', ({ url }: CelUrl) => url.hostname);
  env.registerFunction('URL.getPort(): string', ({ url }: CelUrl) => url.port);
  env.registerFunction('URL.getEscapedPath(): string', ({ url }: CelUrl) => url.pathname);
}
