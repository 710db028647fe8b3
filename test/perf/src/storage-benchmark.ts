import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DataVolume, DataVolumeKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { serveImages } from '@slipway/daemon';
import { NAMESPACE } from './bench-world.ts';
import type { BenchContext, Benchmark } from './benchmarks.ts';
import { cloneBigImage } from './clone-benchmark.ts';
import { byHand, DISK_MIB, type Format, FORMATS, LIMITS, makeImages } from './import-images.ts';
import { cloneOf, cloneOfGolden } from './copy-objects.ts';
import { type MemoryPeaks, watchMoverMemory } from './mover-memory.ts';
import { makeRow, type Row } from './rows.ts';
import { measure, measureUntil } from './watched.ts';

const run = promisify(execFile);
const ROUNDS = 3;
const CLONES = 10;
/** Nine tenths of the speed of the floor. */
const S8 = { max: 1.11, of: 'ratio' } as const;

/**
 * S8: imports of a disk of 1 GiB in four forms against what an administrator types, in turn; the same disk uploaded; clones
 * of a golden image, one by one and many at once.
 */
export const storage: Benchmark = async (context) => {
  const { world, report } = context;
  const { client } = world;
  // of the same file system as the platform's volumes
  const directory = mkdtempSync('/tmp/sw-bench-storage-');
  try {
    report('storage: making the images');
    const images = await makeImages(directory);
    const server = await serveImages(Object.fromEntries(FORMATS.map((format) => [`/${format}`, images[format]])));
    const rows: Row[] = [];
    try {
      const setting: Setting = { directory, url: server.url, images, peaks: [], report };
      for (const format of FORMATS) rows.push(...(await compare(client, format, setting)));
      const most = (which: keyof MemoryPeaks) => [Math.max(...setting.peaks.map((peak) => peak[which]))];
      const memory = { promise: 'S8', unit: 'MiB' } as const;
      rows.push(makeRow({ ...memory, name: 'importer and its tools: anonymous memory, most', runs: most('anonymous') }));
      rows.push(makeRow({ ...memory, name: 'importer and its tools: PSS, most', runs: most('proportional') }));
      rows.push(await uploads(context, setting));
    } finally {
      await server.close();
    }
    rows.push(await cloneBigImage(context));
    report(`storage: ${CLONES} clones at once`);
    rows.push(await manyClones(client));
    return rows;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

interface Setting {
  readonly directory: string;
  readonly url: string;
  readonly images: Readonly<Record<Format, string>>;
  readonly peaks: MemoryPeaks[];
  readonly report: (text: string) => void;
}

const shell = (command: string): Promise<number> => measure(() => run('sh', ['-c', command]));

async function compare(client: Client, format: Format, { directory, url, images, peaks, report }: Setting): Promise<Row[]> {
  const ours: number[] = [];
  const floor: number[] = [];
  const limit: number[] = [];
  const target = join(directory, 'by-hand.img');
  for (let round = 0; round < ROUNDS; round++) {
    report(`storage ${format} ${round + 1} of ${ROUNDS}`);
    const name = `import-${format}-${round}`;
    const watch = watchMoverMemory();
    ours.push(await importOf(client, name, `${url}/${format}`));
    peaks.push(watch.stop());
    await client.delete(DataVolumeKind, { namespace: NAMESPACE, name });
    floor.push(await shell(byHand(format, `${url}/${format}`, target)));
    rmSync(target);
    rmSync(`${target}.tmp`, { force: true });
    if (format !== 'raw') continue;
    limit.push(Math.max(await shell(LIMITS.link(`${url}/raw`)), await shell(LIMITS.disk(images.raw, target))));
    rmSync(target);
  }
  const tool = { raw: 'curl | dd', qcow2: 'curl, qemu-img', gz: 'curl | gzip | dd', xz: 'curl | xz | dd' }[format];
  const row = { promise: 'S8', name: `import of ${DISK_MIB} MiB ${format}: create to Succeeded`, unit: 's', goal: S8 } as const;
  return [
    makeRow({ ...row, runs: ours, floor: { name: tool, runs: floor } }),
    ...(limit.length === 0 ? [] : [makeRow({ ...row, runs: ours, floor: { name: 'slower of link and disk', runs: limit } })]),
  ];
}

/** By the command that users type, so that its start and TLS are in the figure. */
async function uploads({ world }: BenchContext, { directory, images, report }: Setting): Promise<Row> {
  const ours: number[] = [];
  const floor: number[] = [];
  const target = join(directory, 'by-hand.img');
  for (let round = 0; round < ROUNDS; round++) {
    report(`storage upload ${round + 1} of ${ROUNDS}`);
    const name = `upload-${round}`;
    const flags = [
      `--image-path=${images.raw}`,
      `--size=${DISK_MIB}Mi`,
      '--force-bind',
      '--insecure',
      `--namespace=${NAMESPACE}`,
    ];
    ours.push(
      await measure(async () => {
        const { code, stderr } = await world.platform.slipway('virt', 'image-upload', 'dv', name, ...flags);
        if (code !== 0) throw new Error(`image-upload failed: ${stderr}`);
      }),
    );
    await world.client.delete(DataVolumeKind, { namespace: NAMESPACE, name });
    floor.push(await shell(LIMITS.disk(images.raw, target)));
    rmSync(target);
  }
  const name = `upload of ${DISK_MIB} MiB raw by virtctl`;
  return makeRow({ promise: 'S8', name, unit: 's', runs: ours, floor: { name: 'dd', runs: floor } });
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
