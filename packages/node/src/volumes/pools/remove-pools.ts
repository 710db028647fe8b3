import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { NodeConfig } from '../../contracts.ts';
import { PoolSet } from './pool-set.ts';

/** Removes what a node that goes has in its storage pools; what is not mounted stays. */
export async function removePools({ stateDir, hostPrefix }: Pick<NodeConfig, 'stateDir' | 'hostPrefix'>): Promise<void> {
  if (!existsSync(stateDir)) return;
  const pools = new PoolSet({ stateDir, hostPrefix, uid: randomUUID });
  await pools.open();
  for (const root of await pools.ownRoots()) await rm(root, { recursive: true, force: true });
}
