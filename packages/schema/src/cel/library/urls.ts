import type { Registrar } from './register.ts';

/** A URL as it was written: nothing is made lower case, no default is filled in. */
class CelUrl {
  readonly text: string;
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
  constructor(text: string, [scheme = '', host = '', path = '', query = '']: readonly (string | undefined)[]) {
    this.text = text;
    this.scheme = scheme.toLowerCase();
    this.host = host;
    this.path = path;
    this.query = query;
  }
  equals(other: unknown): boolean {
    return other instanceof CelUrl && this.text === other.text;
  }
}

const ABSOLUTE = /^([a-zA-Z][a-zA-Z0-9+.-]*):(?:\/\/(?:[^/?@]*@)?([^/?]*))?([^?]*)(?:\?(.*))?$/;
const HOST = /^(\[[0-9a-fA-F:.%a-z]*\]|[^[\]:\s<>"]*)(:\d*)?$/;

/** An absolute URI or an absolute path. */
export function parseUrl(text: string): CelUrl | undefined {
  // eslint-disable-next-line no-control-regex -- no control characters in URLs
  if (text === '' || /[\u0000-\u001f\u007f]/.test(text) || /%(?![0-9a-fA-F]{2})/.test(text.split('?')[0] ?? '')) return undefined;
  if (text.startsWith('/')) {
    const [, path, query] = /^([^?]*)(?:\?(.*))?$/.exec(text) ?? [];
    return new CelUrl(text, ['', '', path, query]);
  }
  const match = ABSOLUTE.exec(text);
  if (match === null || !HOST.test(match[2] ?? '')) return undefined;
  return new CelUrl(text, match.slice(1));
}

function queryOf({ query }: CelUrl): Record<string, string[]> {
  const result: Record<string, string[]> = {};
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === '__proto__') continue;
    (result[key] ??= []).push(value);
  }
  return result;
}

const hostname = ({ host }: CelUrl): string => /^\[(.*)\]/.exec(host)?.[1] ?? host.replace(/:\d*$/, '');

/** `url('https://example.com/')` and its parts. */
export function registerUrls({ on, type }: Registrar): void {
  const name = 'kubernetes.URL';
  type(name, CelUrl, (a, b) => a.equals(b));
  on('isURL(string): bool', (text: string) => parseUrl(text) !== undefined);
  on(`url(string): ${name}`, (text: string) => {
    const url = parseUrl(text);
    if (url === undefined) throw new Error(`URL parse error during conversion from string: ${text}`);
    return url;
  });
  on(`${name}.getScheme(): string`, ({ scheme }: CelUrl) => scheme);
  on(`${name}.getHost(): string`, ({ host }: CelUrl) => host);
  on(`${name}.getHostname(): string`, hostname);
  on(`${name}.getPort(): string`, ({ host }: CelUrl) => /:(\d*)$/.exec(host)?.[1] ?? '');
  on(`${name}.getEscapedPath(): string`, ({ path }: CelUrl) => escapePath(path));
  on(`${name}.getQuery(): map<string, list<string>>`, queryOf);
}

/** What may not stand in a path is escaped; what is escaped already stays. */
const escapePath = (path: string): string =>
  path.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]+/gu, (part) => encodeURIComponent(Buffer.from(part).toString()));
