import type { IpCommand, Link } from '@slipway/hostapi';

const DEFAULT_MTU = 1500;

/** MTU of the link with the default route. */
export async function uplinkMtu(ip: IpCommand, links: readonly Link[], signal: AbortSignal): Promise<number> {
  const routes: unknown = JSON.parse((await ip.exec(['-j', 'route', 'show', 'default'], signal)).trim() || '[]');
  const [route] = Array.isArray(routes) ? (routes as readonly { dev?: string }[]) : []; // as `ip -j` prints it
  return links.find(({ ifname }) => ifname === route?.dev)?.mtu ?? DEFAULT_MTU;
}
