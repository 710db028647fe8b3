/** What guests are told about name resolution. */
export interface Resolver {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
}

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';

/**
 * Reads resolv.conf files in order of preference: a guest cannot reach a resolver on the host's loopback, so a file with
 * nothing else is passed over (systemd-resolved keeps the real one elsewhere). Link-local servers are dropped too.
 */
export function resolverOf(files: readonly string[], fallback: readonly string[]): Resolver {
  let searches: readonly string[] = [];
  for (const text of files) {
    const parsed = parseResolvConf(text);
    if (searches.length === 0) searches = parsed.searches;
    const nameservers = parsed.nameservers.filter((address) => !isLoopback(address) && !/^fe80:/i.test(address));
    if (nameservers.length > 0) return { nameservers, searches };
  }
  return { nameservers: fallback, searches };
}

/** Name servers and search domains of one file; the last of `domain` and `search` counts. */
export function parseResolvConf(text: string): Resolver {
  const nameservers: string[] = [];
  let searches: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) nameservers.push(values[0]);
    if (keyword === 'search' || keyword === 'domain') searches = values.filter((value) => value !== '.');
  }
  return { nameservers, searches };
}
