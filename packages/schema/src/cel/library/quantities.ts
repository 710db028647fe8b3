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
import type { Registrar } from './register.ts';

class CelQuantity {
  readonly quantity: Quantity;
  constructor(quantity: Quantity) {
    this.quantity = quantity;
  }
  equals(other: unknown): boolean {
    return other instanceof CelQuantity && compareQuantities(this.quantity, other.quantity) === 0;
  }
}

/** `quantity('1Gi')` and what can be done with it. */
export function registerQuantities({ on, type }: Registrar): void {
  type('kubernetes.Quantity', CelQuantity, (a, b) => a.equals(b));
  const compare = (a: CelQuantity, b: CelQuantity): number => compareQuantities(a.quantity, b.quantity);
  const method = (signature: string, handler: (...args: never[]) => unknown): void =>
    on(`kubernetes.Quantity.${signature.replaceAll('Quantity', 'kubernetes.Quantity')}`, handler);
  on('isQuantity(string): bool', (text: string) => tryParseQuantity(text) !== undefined);
  on('quantity(string): kubernetes.Quantity', (text: string) => new CelQuantity(parseQuantity(text)));
  method('compareTo(Quantity): int', (a: CelQuantity, b: CelQuantity) => BigInt(Math.sign(compare(a, b))));
  method('isGreaterThan(Quantity): bool', (a: CelQuantity, b: CelQuantity) => compare(a, b) > 0);
  method('isLessThan(Quantity): bool', (a: CelQuantity, b: CelQuantity) => compare(a, b) < 0);
  method('sign(): int', ({ quantity }: CelQuantity) => BigInt(Math.sign(compareQuantities(quantity, quantityOf(0)))));
  method('isInteger(): bool', ({ quantity }: CelQuantity) => isWhole(quantity));
  method('asInteger(): int', ({ quantity }: CelQuantity) => {
    if (!isWhole(quantity)) throw new Error('cannot convert value to integer');
    return quantityValue(quantity);
  });
  method('asApproximateFloat(): double', ({ quantity }: CelQuantity) => Number(quantity.nano) / 1e9);
  const whole = (value: bigint): Quantity => parseQuantity(String(value));
  const combine = (name: string, of: (a: Quantity, b: Quantity) => Quantity): void => {
    method(`${name}(Quantity): Quantity`, (a: CelQuantity, b: CelQuantity) => new CelQuantity(of(a.quantity, b.quantity)));
    method(`${name}(int): Quantity`, (a: CelQuantity, b: bigint) => new CelQuantity(of(a.quantity, whole(b))));
  };
  combine('add', addQuantities);
  combine('sub', subtractQuantities);
}

const isWhole = ({ nano }: Quantity): boolean => nano % quantityOf(1).nano === 0n;
