import { readFile } from 'node:fs/promises';
import type { Clock } from '@slipway/runtime';
import { parseResolvConf } from '../network/host-resolver.ts';

const REFRESH_MS = 30_000;

/** The name servers of this machine, its own on the loopback too; read again every half minute while somebody asks. */
export function upstreamServers(clock: Clock, file = '/etc/resolv.conf'): () => readonly string[] {
  let servers: readonly string[] = [];
  let readAtMs = Number.NEGATIVE_INFINITY;
  const refresh = async (): Promise<void> => {
    readAtMs = clock.now();
    const text = await readFile(file, 'utf8').catch(() => '');
    servers = parseResolvConf(text).nameservers;
  };
  void refresh();
  return () => {
    if (clock.now() - readAtMs > REFRESH_MS) void refresh();
    return servers;
  };
}
