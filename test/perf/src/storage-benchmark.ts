import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DataVolume, DataVolumeKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { serveImages } from '@slipway/daemon';
import { NAMESPACE } from './bench-world.ts';
import type { Benchmark } from './benchmarks.ts';
import { byHand, DISK_MIB, type Format, FORMATS, makeImages } from './import-images.ts';
import { cloneOf, cloneOfGolden } from './copy-objects.ts';
import { makeRow, type Row } from './rows.ts';
import { measure, measureUntil } from './watched.ts';

const run = promisify(execFile);
const ROUNDS = 3;
const CLONES = 10;
/** Nine tenths of the speed of the floor. */
const S8 = { max: 1.11, of: 'ratio' } as const;
const SAMPLE_MS = 20;

/** S8: imports of a disk of 1 GiB in four forms, against what an administrator types, in turn; and ten clones at once. */
export const storage: Benchmark = async ({ world, report }) => {
  const { client } = world;
  // of the same file system as the platform's volumes
  const directory = mkdtempSync('/tmp/sw-bench-storage-');
  try {
    report('storage: making the images');
    const images = await makeImages(directory);
    const server = await serveImages(Object.fromEntries(FORMATS.map((format) => [`/${format}`, images[format]])));
    try {
      const rows: Row[] = [];
      const peaks: number[] = [];
      for (const format of FORMATS) rows.push(await compare(client, format, { directory, url: server.url, peaks, report }));
      rows.push(makeRow({ promise: 'S8', name: 'memory of the importer, most', unit: 'MiB', runs: [Math.max(...peaks)] }));
      report(`storage: ${CLONES} clones at once`);
      rows.push(await manyClones(client));
      return rows;
    } finally {
      await server.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

interface Setting {
  readonly directory: string;
  readonly url: string;
  readonly peaks: number[];
  readonly report: (text: string) => void;
}

async function compare(client: Client, format: Format, { directory, url, peaks, report }: Setting): Promise<Row> {
  const ours: number[] = [];
  const floor: number[] = [];
  const target = join(directory, 'by-hand.img');
  for (let round = 0; round < ROUNDS; round++) {
    report(`storage ${format} ${round + 1} of ${ROUNDS}`);
    const name = `import-${format}-${round}`;
    const watch = watchMemory();
    ours.push(await importOf(client, name, `${url}/${format}`));
    peaks.push(watch.stop());
    await client.delete(DataVolumeKind, { namespace: NAMESPACE, name });
    floor.push(await measure(() => run('sh', ['-c', byHand(format, `${url}/${format}`, target)])));
    rmSync(target);
    rmSync(`${target}.tmp`, { force: true });
  }
  const tool = { raw: 'curl | dd', qcow2: 'curl, qemu-img', gz: 'curl | gzip | dd', xz: 'curl | xz | dd' }[format];
  const name = `import of ${DISK_MIB} MiB ${format}: create to Succeeded`;
  return makeRow({ promise: 'S8', name, unit: 's', runs: ours, floor: { name: tool, runs: floor }, goal: S8 });
}

function importOf(client: Client, name: string, url: string): Promise<number> {
  const object: DataVolume = {
    ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume' },
    metadata: { namespace: NAMESPACE, name, annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' } },
    spec: { source: { http: { url } }, storage: { resources: { requests: { storage: `${DISK_MIB}Mi` } } } },
  };
  return measureUntil(
    client,
    DataVolumeKind,
    name,
    (found) => found?.status?.phase === 'Succeeded',
    () => client.create(DataVolumeKind, object),
  );
}

async function manyClones(client: Client): Promise<Row> {
  await cloneOfGolden(client, 'many-source');
  const seconds = await Promise.all(
    Array.from({ length: CLONES }, (_, index) => cloneOf(client, 'many-source', `many-clone-${index}`, '128Mi')),
  );
  return makeRow({
    ...{ promise: 'S8', name: `${CLONES} clones at once: last one Succeeded`, unit: 's', runs: [Math.max(...seconds)] },
  });
}

/** Most anonymous memory (MiB) of data movers while it runs; page cache of what they write is the kernel's to give back. */
function watchMemory(): { stop: () => number } {
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, moverMemory());
  }, SAMPLE_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return most;
    },
  };
}

function moverMemory(): number {
  let kib = 0;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/mover.mjs')) continue;
      kib += Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      // it has ended meanwhile
    }
  }
  return kib / 1024;
}
