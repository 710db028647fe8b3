import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StatusReport } from '@slipway/daemon';
import { type ImageServer, seededRandom, startImageServer } from '@slipway/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: many more kills. `SLIPWAY_KILL_SEED` repeats a run, as its title names it. */
const KILLS = process.env['SLIPWAY_E2E_LONG'] === '1' ? 20 : 2;
const SEED = Number(process.env['SLIPWAY_KILL_SEED'] ?? Date.now() % 1_000_000);
const MiB = 1024 * 1024;
const PACE = 16 * MiB;
/** What one kill may cost: 8 MiB since the last entry of the journal, and what was on the wire. */
const CHUNK = 24 * MiB;
const DONE_MS = 180_000;
/** With `machine` everything ends at once. */
const VICTIMS = ['mover', 'agent', 'server', 'machine'] as const;
type Victim = (typeof VICTIMS)[number];

interface DataVolume {
  metadata: { uid: string };
  status?: { phase?: string };
}

describe(`kill -9 of parts of the platform during transfers (seed ${SEED}, ${KILLS} kills)`, () => {
  const random = seededRandom(SEED);
  const body = randomBytes(48 * MiB);
  const sha256 = createHash('sha256').update(body).digest('hex');
  let platform: Platform;
  let images: ImageServer;
  let dir: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sw-storage-kill-'));
    images = await startImageServer();
    images.files.set('/disk', { body, pace: PACE });
    platform = await startPlatform();
  }, 480_000);
  afterAll(async () => {
    rmSync(dir, { recursive: true, force: true });
    await images?.close();
    await platform?.destroy();
  });

  const nodeDirectory = (): string => {
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    return join(platform.dataDir, 'nodes', node);
  };

  /** Digest of what a guest would read from the start of a claim's disk. */
  async function digestOf(claim: string): Promise<string> {
    const { metadata } = JSON.parse(await platform.kubectl('get', 'pvc', claim, '-o', 'json')) as DataVolume;
    const volume = join(nodeDirectory(), 'volumes', metadata.uid);
    const { format } = JSON.parse(readFileSync(join(volume, 'volume.json'), 'utf8')) as { format: string };
    const raw = join(dir, 'read.img');
    execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', join(volume, 'disk.img'), raw]);
    const hash = createHash('sha256');
    for await (const piece of createReadStream(raw, { end: body.length - 1 })) hash.update(piece as Buffer);
    rmSync(raw);
    return hash.digest('hex');
  }

  /** While a part of the platform comes back, everything may fail. */
  async function untilDone<T>(action: () => Promise<T>): Promise<T> {
    for (const deadline = Date.now() + DONE_MS; ; await tick(200)) {
      try {
        return await action();
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
    }
  }

  /** Looks up what is to be killed; the answer strikes at once. */
  async function aim(victim: Victim): Promise<() => void> {
    const report = await untilDone(
      async () => JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport,
    );
    const isAll = victim === 'machine';
    return () => {
      if (isAll || victim === 'server') end(report.server.pid);
      if (isAll || victim === 'agent') end(report.nodes[0]?.pid);
      if (isAll || victim === 'mover') for (const pid of moverPids()) end(pid);
    };
  }

  function moverPids(): readonly number[] {
    const movers = join(nodeDirectory(), 'movers');
    return readdirSync(movers).flatMap((id) => {
      try {
        const { process: found } = JSON.parse(readFileSync(join(movers, id, 'mover.json'), 'utf8')) as {
          process?: { pid: number };
        };
        return found === undefined ? [] : [found.pid];
      } catch {
        return []; // one that is about to start, or to be forgotten
      }
    });
  }

  const dataVolume = (name: string, source: object): object => ({
    ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume' },
    metadata: { name, namespace: 'default', annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': '' } },
    spec: { source, storage: { resources: { requests: { storage: '64Mi' } } } },
  });
  const succeeded = (name: string) =>
    platform.until<DataVolume>(`dv ${name}`, ({ status }) => status?.phase === 'Succeeded', DONE_MS);

  it('imports go on where they were, and clones are whole', { timeout: 300_000 + KILLS * 120_000 }, async () => {
    let total = 0;
    let sent = 0;
    let transfers = 0;
    while (total < KILLS) {
      const name = `import-${transfers++}`;
      images.sentBytes = 0;
      const checksum = `sha256:${sha256}`;
      await untilDone(() => platform.apply(dataVolume(name, { http: { url: `${images.url}/disk`, checksum } })));
      let kills = 0;
      for (const wanted = 1 + random.below(Math.min(3, KILLS - total)); kills < wanted; kills++) {
        const strike = await aim(random.pick(VICTIMS));
        const from = images.sentBytes + random.below(Math.max(1, body.length - images.sentBytes));
        for (const deadline = Date.now() + DONE_MS; images.sentBytes < from && Date.now() < deadline; ) await tick(5);
        strike();
      }
      await succeeded(name);
      expect(await digestOf(name), `import ${name}, seed ${SEED}`).toBe(sha256);
      expect(images.sentBytes, `${kills} kills, seed ${SEED}`).toBeLessThanOrEqual(1.05 * body.length + kills * CHUNK);
      total += kills;
      sent += images.sentBytes;

      const copy = `clone-${transfers}`;
      const strike = await aim(random.pick(['agent', 'server', 'machine']));
      await untilDone(() => platform.apply(dataVolume(copy, { pvc: { namespace: 'default', name } })));
      await tick(random.below(200));
      strike();
      await succeeded(copy);
      expect(await digestOf(copy), `clone ${copy}, seed ${SEED}`).toBe(sha256);
    }
    console.log(
      `seed ${SEED}: ${total} kills in ${transfers} imports, ${Math.round(sent / MiB)} of ${transfers * 48} MiB fetched; ${transfers} clones, one kill each`,
    );
  });
});

const tick = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** It may have ended meanwhile. */
function end(pid: number | undefined): void {
  if (pid === undefined || pid <= 0) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
