import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readArchive } from '@slipway/helm';
import { withDeadline } from './chart-http.ts';
import { chartPlace, type ChartPlace, placeText } from './chart-place.ts';
import { chartRegistries } from './chart-registry.ts';
import type { Credentials } from './credentials.ts';
import { helmRepositories } from './helm-repository.ts';
import { type SourceReach, sourceGuard } from './reach.ts';
import { SourceError } from './source-error.ts';
import { dropOldTrees, exists } from './trees.ts';

/** A chart and how it is told apart. */
export interface WantedChart {
  readonly repoURL: string;
  /** Empty where the URL is that of the chart itself. */
  readonly chart: string;
}

/** Packaged charts of Helm repositories and OCI registries. */
export interface ChartRepositories {
  /** The version that a revision means now. */
  resolve(wanted: WantedChart, revision: string, credentials: Credentials, signal: AbortSignal): Promise<string>;
  /** A directory with the files of a version. It must not be changed. */
  checkout(wanted: WantedChart, version: string, credentials: Credentials, signal: AbortSignal): Promise<string>;
  /** A version as it was published. */
  archive(wanted: WantedChart, version: string, credentials: Credentials, signal: AbortSignal): Promise<Buffer>;
}

/** A version of a chart that was found. */
export interface FoundChart {
  /** SHA-256 in hexadecimal, where the repository says it. */
  readonly digest?: string;
  download(maxBytes: number, signal: AbortSignal): Promise<Buffer>;
}

/** One way to get at charts. `key` stands for the place and who asks. */
export interface ChartSource<Place extends ChartPlace> {
  resolve(place: Place, wanted: string, credentials: Credentials, key: string, signal: AbortSignal): Promise<string>;
  find(place: Place, version: string, credentials: Credentials, key: string, signal: AbortSignal): Promise<FoundChart>;
}

const MAX_CHART_BYTES = 20 * 1024 * 1024;
const MAX_KNOWN = 1000;

/** Charts are kept by their digest below `cacheDir`. */
export function chartRepositories({ cacheDir, reach = {} }: { cacheDir: string; reach?: SourceReach }): ChartRepositories {
  const guard = sourceGuard(reach);
  const repositories = helmRepositories(guard);
  const registries = chartRegistries(guard);
  const charts = join(cacheDir, 'charts');
  /** Digests of charts whose repository does not say them. */
  const digests = new Map<string, string>();

  const resolve: ChartRepositories['resolve'] = (wanted, revision, credentials, signal) => {
    const place = chartPlace(wanted.repoURL, wanted.chart);
    const key = keyOf(place, credentials);
    return withDeadline(placeText(place), signal, (limited) =>
      place.type === 'http'
        ? repositories.resolve(place, revision, credentials, key, limited)
        : registries.resolve(place, revision, credentials, key, limited),
    );
  };
  /** The directory of a chart in the cache. */
  const fetch = async (wanted: WantedChart, version: string, credentials: Credentials, signal: AbortSignal): Promise<string> => {
    const place = chartPlace(wanted.repoURL, wanted.chart);
    const key = keyOf(place, credentials);
    return withDeadline(placeText(place), signal, async (limited) => {
      const found = await (place.type === 'http'
        ? repositories.find(place, version, credentials, key, limited)
        : registries.find(place, version, credentials, key, limited));
      const name = `${key}\0${version}`;
      const digest = found.digest ?? digests.get(name);
      if (digest !== undefined && (await exists(join(charts, digest)))) return join(charts, digest);
      const data = await found.download(MAX_CHART_BYTES, limited);
      const actual = createHash('sha256').update(data).digest('hex');
      if (found.digest !== undefined && actual !== found.digest)
        throw new SourceError(
          `chart "${place.chart}" version "${version}" of ${placeText(place)} arrived with digest ${actual}, but ${found.digest} was published: it was changed or damaged`,
        );
      if (digests.size > MAX_KNOWN) digests.clear();
      digests.set(name, actual);
      return keep(charts, actual, data);
    });
  };
  return {
    resolve,
    checkout: async (...asked) => join(await fetch(...asked), FILES),
    archive: async (...asked) => readFile(join(await fetch(...asked), PACKAGED)),
  };
}

const FILES = 'files';
const PACKAGED = 'chart.tgz';

/** A chart that was checked, packaged and unpacked, under its digest. */
async function keep(charts: string, digest: string, data: Buffer): Promise<string> {
  const directory = join(charts, digest);
  await mkdir(charts, { recursive: true, mode: 0o700 });
  const work = await mkdtemp(join(charts, 'new-'));
  try {
    await writeFile(join(work, PACKAGED), data);
    // the archive has no links, and no path leads out of it
    for (const file of await readArchive(data)) {
      const path = join(work, FILES, file.path);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, file.data, { flag: 'wx' });
    }
    await rename(work, directory).catch(async (error: unknown) => {
      // another reconcile was quicker
      if (!(await exists(directory))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  await dropOldTrees(charts, digest);
  return directory;
}

/** Whoever gives other credentials sees nothing of what was read with these. */
const keyOf = (place: ChartPlace, credentials: Credentials): string =>
  createHash('sha256')
    .update(JSON.stringify([placeText(place), place.chart, place.type === 'http' ? place.repository.search : '', credentials]))
    .digest('hex');
