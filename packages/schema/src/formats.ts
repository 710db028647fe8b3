import { isIP, isIPv4, isIPv6 } from 'node:net';
import { parseDuration, parseTime } from '@slipway/apimachinery';

const matches =
  (pattern: RegExp) =>
  (text: string): boolean =>
    pattern.test(text);

const HOSTNAME = /^(?=.{1,253}$)[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*\.?$/;
const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const UUID_OF = (version: number): RegExp =>
  new RegExp(`^[0-9a-f]{8}-?[0-9a-f]{4}-?${version}[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$`, 'i');

/** Formats the API server checks; any other format is documentation. */
const CHECKS: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': (text) => parseTime(text) !== undefined,
  datetime: (text) => parseTime(text) !== undefined,
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)),
  duration: (text) => parseDuration(text) !== undefined,
  byte: (text) => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text),
  ipv4: isIPv4,
  ipv6: isIPv6,
  ip: (text) => isIP(text) !== 0,
  cidr: isCidr,
  mac: matches(/^([0-9a-f]{2}[:-]){5}([0-9a-f]{2}([:-][0-9a-f]{2}){0,2})$|^([0-9a-f]{4}\.){2}[0-9a-f]{4}$/i),
  uuid: matches(UUID),
  uuid3: matches(UUID_OF(3)),
  uuid4: matches(UUID_OF(4)),
  uuid5: matches(UUID_OF(5)),
  hostname: matches(HOSTNAME),
  email: matches(/^[^@\s]+@[^@\s]+$/),
  uri: isUri,
  hexcolor: matches(/^#?([0-9a-f]{3}|[0-9a-f]{6})$/i),
};

export function isFormatValid(format: string, text: string): boolean {
  return !Object.hasOwn(CHECKS, format) || (CHECKS[format]?.(text) ?? true);
}

export function isCidr(text: string): boolean {
  const slash = text.indexOf('/');
  const version = isIP(text.slice(0, slash));
  const prefix = text.slice(slash + 1);
  return slash > 0 && version !== 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128);
}

export function isUri(text: string): boolean {
  return /^[a-zA-Z][a-zA-Z0-9+.-]*:\S*$/.test(text) || text.startsWith('/');
}
