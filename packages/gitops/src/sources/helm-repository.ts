import type { AddressGuard } from '@slipway/runtime';
import type { ChartPlace } from './chart-place.ts';
import { basicAuth, bodyOf, chartHttp, getChartFile } from './chart-http.ts';
import { chooseVersion, type IndexEntry, noSuchVersion, readChartIndex } from './chart-versions.ts';
import type { ChartSource, FoundChart } from './chart-repositories.ts';
import type { Credentials } from './credentials.ts';
import { SourceError } from './source-error.ts';

type HttpPlace = Extract<ChartPlace, { type: 'http' }>;

const MAX_INDEX_BYTES = 32 * 1024 * 1024;
const MAX_KNOWN = 100;

/** What an index says of a chart. */
interface KnownChart {
  readonly entries: readonly IndexEntry[];
  readonly etag?: string;
  readonly lastModified?: string;
}

/** Repositories with an `index.yaml`. Indexes are kept, and asked for again only whether they have changed. */
export function helmRepositories(guard: AddressGuard): ChartSource<HttpPlace> {
  const known = new Map<string, KnownChart>();

  const readEntries = async (
    place: HttpPlace,
    credentials: Credentials,
    key: string,
    signal: AbortSignal,
  ): Promise<readonly IndexEntry[]> => {
    const old = known.get(key);
    const conditions = {
      ...(old?.etag !== undefined && { 'If-None-Match': old.etag }),
      ...(old?.lastModified !== undefined && { 'If-Modified-Since': old.lastModified }),
    };
    const options = { ...chartHttp(guard, credentials), headers: basicAuth(credentials) };
    const answer = await getChartFile(within(place.repository, 'index.yaml'), options, conditions, signal, old ? [304] : []);
    if (answer.status === 304 && old) {
      answer.body.destroy();
      return old.entries;
    }
    const entries = readChartIndex((await bodyOf(answer, MAX_INDEX_BYTES, signal)).toString('utf8'), place.chart);
    if (entries === undefined)
      throw new SourceError(
        `chart "${place.chart}" not found in ${place.repository.href}: its index does not name it. Correct chart`,
      );
    const { etag, 'last-modified': lastModified } = answer.headers;
    known.delete(key);
    known.set(key, { entries, ...(etag !== undefined && { etag }), ...(lastModified !== undefined && { lastModified }) });
    for (const oldest of [...known.keys()].slice(0, Math.max(0, known.size - MAX_KNOWN))) known.delete(oldest);
    return entries;
  };
  return {
    async resolve(place, wanted, credentials, key, signal) {
      const versions = (await readEntries(place, credentials, key, signal)).map(({ version }) => version);
      const version = chooseVersion(versions, wanted);
      if (version === undefined) throw noSuchVersion(place.chart, wanted, versions, place.repository.href);
      return version;
    },
    async find(place, version, credentials, key, signal): Promise<FoundChart> {
      const entryIn = (entries: readonly IndexEntry[] | undefined): IndexEntry | undefined =>
        entries?.find((candidate) => candidate.version === version);
      const entry = entryIn(known.get(key)?.entries) ?? entryIn(await readEntries(place, credentials, key, signal));
      if (entry === undefined) throw noSuchVersion(place.chart, version, [], place.repository.href);
      const url = chartUrl(entry.url, place.repository);
      return {
        ...(entry.digest !== undefined && { digest: entry.digest }),
        download: async (maxBytes, inner) => {
          // another server gets the credentials only where the application says so
          const isOwn = url.origin === place.repository.origin || credentials.passCredentials === true;
          const options = {
            ...chartHttp(guard, isOwn ? credentials : publicly(credentials)),
            headers: isOwn ? basicAuth(credentials) : {},
          };
          return bodyOf(await getChartFile(url, options, {}, inner), maxBytes, inner);
        },
      };
    },
  };
}

const publicly = ({ ca, insecure }: Credentials): Credentials => ({
  ...(ca !== undefined && { ca }),
  ...(insecure !== undefined && { insecure }),
});

/** A file beside the index; what a repository's URL asks for besides its path is kept. */
function within(repository: URL, path: string): URL {
  const url = new URL(path, repository);
  url.search = repository.search;
  return url;
}

function chartUrl(text: string, repository: URL): URL {
  const url = URL.canParse(text, repository.href) ? new URL(text, repository) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new SourceError(`index.yaml of ${repository.href} names ${JSON.stringify(text)} as a chart, which is no http(s) URL`);
  if (repository.protocol === 'https:' && url.protocol === 'http:')
    throw new SourceError(
      `index.yaml of ${repository.href} leads from https to http (${url.host}), which would give up its protection`,
    );
  if (url.origin === repository.origin && url.search === '') url.search = repository.search;
  return url;
}
