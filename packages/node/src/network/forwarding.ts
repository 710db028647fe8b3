import { readdir, readFile, writeFile } from 'node:fs/promises';

/** Links that learn their IPv6 routes from advertisements, which forwarding would switch off. Empty once it is on. */
export async function autoconfiguredLinks(): Promise<string[]> {
  const root = '/proc/sys/net/ipv6/conf';
  if ((await readFile(`${root}/all/forwarding`, 'utf8').catch(() => '1')).trim() === '1') return [];
  const found: string[] = [];
  for (const link of await readdir(root)) {
    if (link === 'all' || link === 'default' || link === 'lo') continue;
    if ((await readFile(`${root}/${link}/accept_ra`, 'utf8').catch(() => '')).trim() === '1') found.push(link);
  }
  return found;
}

export interface Sysctl {
  /** Below /proc/sys. */
  readonly path: string;
  readonly value: string;
}

/** Forwarding of both families, and what keeps links that learn their routes doing so. */
export const forwardingSysctls = (autoconfigured: readonly string[]): readonly Sysctl[] => [
  ...autoconfigured.map((link) => ({ path: `net/ipv6/conf/${link}/accept_ra`, value: '2' })),
  { path: 'net/ipv4/ip_forward', value: '1' },
  { path: 'net/ipv6/conf/all/forwarding', value: '1' },
];

/** A kernel without IPv6 lacks some of the files. */
export async function writeSysctl({ path, value }: Sysctl): Promise<void> {
  const file = `/proc/sys/${path}`;
  try {
    if ((await readFile(file, 'utf8')).trim() !== value) await writeFile(file, value);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw new Error(`Cannot set ${path} to ${value}; the node agent must run as root`, { cause: error });
  }
}

/** Lets this network namespace forward. */
export async function switchForwardingOn(): Promise<void> {
  for (const sysctl of forwardingSysctls(await autoconfiguredLinks())) await writeSysctl(sysctl);
}
