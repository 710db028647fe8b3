import { readFile } from 'node:fs/promises';

/** IPv4 networks that the kernel routes, as CIDR strings; the default route is `0.0.0.0/0`. */
export async function routedNetworks(): Promise<string[]> {
  return parseRoutes(await readFile('/proc/net/route', 'utf8'));
}

/** Parses /proc/net/route, whose numbers are hexadecimal in host (little-endian) order. */
export function parseRoutes(text: string): string[] {
  return text
    .trim()
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, destination, , , , , , mask] = line.trim().split(/\s+/);
      if (destination === undefined || mask === undefined) return [];
      const address = destination
        .match(/../g)
        ?.reverse()
        .map((byte) => Number.parseInt(byte, 16))
        .join('.');
      const bits = Number.parseInt(mask, 16).toString(2).replaceAll('0', '').length;
      return [`${address}/${bits}`];
    });
}
