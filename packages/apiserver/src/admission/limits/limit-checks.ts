import type { core } from '@slipway/api';
import { type Quantity, compareQuantities, formatQuantity, parseQuantity } from '@slipway/apimachinery';

export type Amounts = Readonly<Record<string, string | Quantity>>;

const quantityOf = (amount: string | Quantity): Quantity => (typeof amount === 'object' ? amount : parseQuantity(amount));
const show = (amount: string | Quantity): string => formatQuantity(quantityOf(amount));

interface Bound {
  readonly type: string;
  readonly name: string;
  readonly enforced: string;
  readonly request: string | Quantity | undefined;
  readonly limit: string | Quantity | undefined;
}

/** What one item of a LimitRange has against these amounts. `limits` undefined: the kind has requests alone (claims). */
export function limitFindings(item: core.LimitRangeItem, requests: Amounts, limits: Amounts | undefined): string[] {
  const bounds = (amounts: Readonly<Record<string, string>> | undefined): Bound[] =>
    Object.entries(amounts ?? {}).map(([name, enforced]) => ({
      type: item.type,
      name,
      enforced,
      request: requests[name],
      limit: limits?.[name],
    }));
  return [
    ...bounds(item.min).map(belowMinimum),
    ...bounds(item.max).map(limits === undefined ? requestAboveMaximum : aboveMaximum),
    ...bounds(item.maxLimitRequestRatio).map(aboveRatio),
  ].filter((text) => text !== undefined);
}

const exceeds = (amount: string | Quantity | undefined, bound: string): amount is string | Quantity =>
  amount !== undefined && compareQuantities(quantityOf(amount), parseQuantity(bound)) > 0;
const fallsShort = (amount: string | Quantity | undefined, bound: string): amount is string | Quantity =>
  amount !== undefined && compareQuantities(quantityOf(amount), parseQuantity(bound)) < 0;

function belowMinimum({ type, name, enforced, request, limit }: Bound): string | undefined {
  const rule = `minimum ${name} usage per ${type} is ${show(enforced)}`;
  if (request === undefined) return `${rule}.  No request is specified`;
  if (fallsShort(request, enforced)) return `${rule}, but request is ${show(request)}`;
  return fallsShort(limit, enforced) ? `${rule}, but limit is ${show(limit)}` : undefined;
}

function aboveMaximum({ type, name, enforced, request, limit }: Bound): string | undefined {
  const rule = `maximum ${name} usage per ${type} is ${show(enforced)}`;
  if (limit === undefined) return `${rule}.  No limit is specified`;
  if (exceeds(limit, enforced)) return `${rule}, but limit is ${show(limit)}`;
  return exceeds(request, enforced) ? `${rule}, but request is ${show(request)}` : undefined;
}

function requestAboveMaximum({ type, name, enforced, request }: Bound): string | undefined {
  const rule = `maximum ${name} usage per ${type} is ${show(enforced)}`;
  if (request === undefined) return `${rule}.  No request is specified`;
  return exceeds(request, enforced) ? `${rule}, but request is ${show(request)}` : undefined;
}

function aboveRatio({ type, name, enforced, request, limit }: Bound): string | undefined {
  const rule = `${name} max limit to request ratio per ${type} is ${show(enforced)}`;
  const [low, high] = [request, limit].map((amount) => (amount === undefined ? 0 : Number(quantityOf(amount).nano) / 1e9));
  if (!low) return `${rule}, but no request is specified or request is 0`;
  if (!high) return `${rule}, but no limit is specified or limit is 0`;
  const ratio = high / low;
  return ratio > Number(quantityOf(enforced).nano) / 1e9 ? `${rule}, but provided ratio is ${ratio.toFixed(6)}` : undefined;
}
