import { stat } from 'node:fs/promises';
import {
  HostPathProvisionerKind,
  NodeKind,
  type PersistentVolume,
  PersistentVolumeKind,
  STORAGE_POOLS_ANNOTATION,
  parsePoolReports,
  type StoragePoolReport,
} from '@slipway/api';
import { formatQuantity, ignoreNotFound, keyOf, quantityOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type ControllerRegistration, watchFor } from '@slipway/runtime';
import { isMine, volumeUidOf } from '../local-volume.ts';
import { bytesOf } from '../provision-plan.ts';
import type { PoolSet } from './pool-set.ts';
import { nodePools } from './node-pools.ts';
import { usageOf } from './pool-usage.ts';

export interface PoolReporterDeps {
  readonly nodeName: string;
  readonly pools: PoolSet;
}

const REPORT_MS = 20_000;
/** Guests write all the time: so much of the file system must change before it is news. */
const NEWS = 0.01;
const SMALL_BYTES = 16 * 1024 * 1024;
/** On a PersistentVolume: what its files take, a layer that others read too included. */
const USED_ANNOTATION = 'slipway.dev/used';

/** Takes the pools that are declared for this node, and says on the Node object how they are. */
export const poolReporter = ({ nodeName, pools }: PoolReporterDeps): ControllerRegistration => ({
  name: 'storage-pool-reporter',
  create({ client, informers }) {
    const key = { namespace: '', name: nodeName };
    const declared = nodePools({ client, informers }, nodeName);
    const volumes = informers.lister(PersistentVolumeKind);
    return {
      concurrency: 1,
      watches: [watchFor(HostPathProvisionerKind, key)],
      run: async (queue) => queue.add(key),
      reconciler: {
        async reconcile(_, signal) {
          await pools.declare(await declared(signal));
          const mine = volumes.list().filter((volume) => isMine(volume, nodeName));
          const { reports, usedByVolume } = await poolReports(pools, mine);
          // not registered yet: tried again with back-off
          const node = await client.get(NodeKind, key, { signal });
          const before = parsePoolReports(node.metadata.annotations?.[STORAGE_POOLS_ANNOTATION]);
          if (isNews(before, reports)) await write(client, nodeName, reports, signal);
          await tellUsage(client, mine, usedByVolume, signal);
          return after(REPORT_MS);
        },
      },
    };
  },
});

async function write(client: Client, name: string, reports: readonly StoragePoolReport[], signal: AbortSignal): Promise<void> {
  const annotations = { [STORAGE_POOLS_ANNOTATION]: JSON.stringify(reports) };
  await client.patch(NodeKind, { namespace: '', name }, { metadata: { annotations } }, { type: 'merge', signal });
}

/** What each volume takes is in an annotation of its PersistentVolume. */
async function tellUsage(
  client: Client,
  volumes: readonly PersistentVolume[],
  usedByVolume: ReadonlyMap<string, number>,
  signal: AbortSignal,
): Promise<void> {
  for (const volume of volumes) {
    const used = usedByVolume.get(volumeUidOf(volume));
    if (used === undefined || !isUsageNews(volume, used)) continue;
    const annotations = { [USED_ANNOTATION]: formatQuantity(quantityOf(used, 'BinarySI')) };
    await client
      .patch(PersistentVolumeKind, keyOf(volume), { metadata: { annotations } }, { type: 'merge', signal })
      .catch(ignoreNotFound);
  }
}

/** Whether a volume takes much more or less than was said last. Pure. */
export function isUsageNews({ metadata, spec }: PersistentVolume, usedBytes: number): boolean {
  const moved = Math.abs(bytesOf(metadata.annotations?.[USED_ANNOTATION]) - usedBytes);
  return moved > Math.max(SMALL_BYTES, bytesOf(spec?.capacity?.storage) * NEWS);
}

/** How the node's own directory and its pools are, and what each volume takes. */
async function poolReports(
  pools: PoolSet,
  volumes: readonly PersistentVolume[],
): Promise<{
  readonly reports: readonly StoragePoolReport[];
  readonly usedByVolume: ReadonlyMap<string, number>;
}> {
  const usedByVolume = new Map<string, number>();
  const usable = await pools.usable();
  const promised = (pool: string | undefined) => volumes.filter((volume) => pools.poolOf(volumeUidOf(volume)) === pool);
  const own = { name: '', path: pools.rootOf(undefined) };
  const system = await stat('/');
  const reports = await Promise.all(
    [own, ...pools.states()].map(async ({ name, path, ...state }) => {
      const pool = name === '' ? undefined : name;
      const isHere = usable.includes(pool);
      const here = promised(pool);
      const used = isHere ? await usageOf(pools.rootOf(pool)) : undefined;
      for (const [uid, bytes] of used?.byVolume ?? []) usedByVolume.set(uid, bytes);
      const device = isHere ? (await stat(pools.rootOf(pool))).dev : undefined;
      const problem = 'problem' in state ? state.problem : undefined;
      return {
        ...{ name, path },
        ...(problem && { problem: problem.message }),
        ...(isHere ? await pools.space(pool) : { totalBytes: 0, freeBytes: 0 }),
        promisedBytes: here.reduce((sum, { spec }) => sum + bytesOf(spec?.capacity?.storage), 0),
        usedBytes: used?.totalBytes ?? 0,
        volumes: here.length,
        isSharedWithSystem: device === system.dev,
      };
    }),
  );
  return { reports, usedByVolume };
}

/** Whether others should know of the difference. Pure. */
export function isNews(before: readonly StoragePoolReport[], now: readonly StoragePoolReport[]): boolean {
  if (before.length !== now.length) return true;
  return now.some((report, index) => {
    const last = before[index];
    if (last === undefined) return true;
    const { freeBytes: _, usedBytes: __, ...facts } = report;
    const { freeBytes, usedBytes, ...lastFacts } = last;
    const moved = Math.max(Math.abs(freeBytes - report.freeBytes), Math.abs(usedBytes - report.usedBytes));
    return JSON.stringify(facts) !== JSON.stringify(lastFacts) || moved > report.totalBytes * NEWS;
  });
}
