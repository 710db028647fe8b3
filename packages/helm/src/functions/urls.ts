import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import type { GoMap, Value } from '../template/values.ts';

/** Go's path.Clean. */
export function cleanPath(path: string): string {
  const isRooted = path.startsWith('/');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!isRooted) parts.push('..');
  }
  return (isRooted ? '/' : '') + parts.join('/') || '.';
}

function base(path: string): string {
  if (path === '') return '.';
  const bare = path.replace(/\/+$/, '');
  return bare === '' ? '/' : bare.slice(bare.lastIndexOf('/') + 1);
}

const directory = (path: string): string => cleanPath(path.slice(0, path.lastIndexOf('/') + 1));
const extension = (path: string): string => /\.[^./]*$/.exec(path)?.[0] ?? '';

const URL_PARTS = /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#([^]*))?$/;

function parse(text: string): GoMap {
  const match = URL_PARTS.exec(text);
  if (match === null || /\p{Cc}/u.test(text))
    throw new FunctionError(`unable to parse url: parse ${JSON.stringify(text)}: invalid URL`);
  const [, scheme = '', authority = '', path = '', query = '', fragment = ''] = match;
  const at = authority.lastIndexOf('@');
  const host = authority.slice(at + 1);
  const opaque = scheme !== '' && match[2] === undefined && !path.startsWith('/') ? path : '';
  const fields: readonly (readonly [string, string])[] = [
    ['scheme', scheme.toLowerCase()],
    ['host', host],
    ['hostname', host.replace(/:\d*$/, '').replace(/^\[|\]$/g, '')],
    ['path', opaque === '' ? decode(path) : ''],
    ['query', query],
    ['opaque', opaque],
    ['fragment', decode(fragment)],
    ['userinfo', at === -1 ? '' : authority.slice(0, at)],
  ];
  return new Map<string, Value>(fields);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function join(map: GoMap): string {
  const part = (name: string): string => {
    const value = map.get(name) ?? '';
    if (typeof value !== 'string') throw new FunctionError(`unable to parse ${name} key, must be of type string`);
    return value;
  };
  const [scheme, host, user, query, fragment] = [part('scheme'), part('host'), part('userinfo'), part('query'), part('fragment')];
  const head = scheme === '' ? '' : `${scheme}:`;
  if (part('opaque') !== '') return head + part('opaque') + (query && `?${query}`) + (fragment && `#${fragment}`);
  const authority = host === '' && user === '' ? '' : `//${user && `${user}@`}${host}`;
  const path = encodeURI(part('path'));
  const gap = authority !== '' && path !== '' && !path.startsWith('/') ? '/' : '';
  return head + authority + gap + path + (query && `?${query}`) + (fragment && `#${encodeURI(fragment)}`);
}

/** Sprig's functions on paths and URLs. */
export function pathFunctions(): FunctionTable {
  const [baseOf, dir, clean, ext, isAbs] = [
    define('string', base),
    define('string', directory),
    define('string', cleanPath),
    define('string', extension),
    define('string', (path: string) => path.startsWith('/')),
  ];
  return {
    base: baseOf,
    dir,
    clean,
    ext,
    isAbs,
    osBase: baseOf,
    osDir: dir,
    osClean: clean,
    osExt: ext,
    osIsAbs: isAbs,
    urlParse: define('string', parse),
    urlJoin: define('map', join),
  };
}
