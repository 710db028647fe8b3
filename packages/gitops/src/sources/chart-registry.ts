import { createHash } from 'node:crypto';
import {
  type AddressGuard,
  type Descriptor,
  isDescriptor,
  isDigest,
  readManifest,
  type RegistrySession,
  registrySession,
} from '@slipway/runtime';
import { isObject } from '@slipway/apimachinery';
import { chartHttp, explainAnswer, explainConnect } from './chart-http.ts';
import { type ChartPlace, placeText, tagOf, versionOfTag } from './chart-place.ts';
import { chooseVersion, isExactVersion, noSuchVersion } from './chart-versions.ts';
import type { ChartSource, FoundChart } from './chart-repositories.ts';
import type { Credentials } from './credentials.ts';
import { SourceError } from './source-error.ts';

type OciPlace = Extract<ChartPlace, { type: 'oci' }>;

const MANIFEST_TYPES = 'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json';
const CHART_LAYERS: ReadonlySet<string> = new Set([
  'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
  // of the first versions of Helm that could push
  'application/tar+gzip',
]);
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const MAX_TAG_PAGES = 20;
const MAX_KNOWN = 1000;

/** Registries that hold charts as artifacts. */
export function chartRegistries(guard: AddressGuard): ChartSource<OciPlace> {
  /** Layers by repository and tag. */
  const known = new Map<string, Descriptor>();

  const layerOf = async (
    place: OciPlace,
    version: string,
    session: RegistrySession,
    signal: AbortSignal,
  ): Promise<Descriptor> => {
    const reference = isDigest(version) ? version : tagOf(version);
    if (reference === undefined) throw noSuchVersion(place.chart, version, [], placeText(place));
    const { body } = await session.read(`manifests/${reference}`, { Accept: MANIFEST_TYPES }, MAX_ANSWER_BYTES, signal);
    if (isDigest(reference) && sha256(body) !== reference)
      throw new SourceError(`the manifest of ${placeText(place)} is not the one that ${reference} names`);
    return chartLayer(body, place);
  };
  return {
    async resolve(place, wanted, credentials, key, signal) {
      const session = sessionOf(guard, place, credentials);
      const version = isDigest(wanted) || isExactVersion(wanted) ? wanted : await newest(place, wanted, session, signal);
      if (known.size > MAX_KNOWN) known.clear();
      known.set(`${key}\0${version}`, await layerOf(place, version, session, signal));
      return version;
    },
    async find(place, version, credentials, key, signal): Promise<FoundChart> {
      const session = sessionOf(guard, place, credentials);
      const layer = known.get(`${key}\0${version}`) ?? (await layerOf(place, version, session, signal));
      return {
        digest: layer.digest.slice('sha256:'.length),
        download: async (maxBytes, inner) => {
          if (layer.size > maxBytes)
            throw new SourceError(
              `chart "${place.chart}" of ${placeText(place)} is larger than ${maxBytes / 1024 / 1024} MiB, which is refused`,
            );
          return (await session.read(`blobs/${layer.digest}`, {}, maxBytes, inner)).body;
        },
      };
    },
  };
}

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function sessionOf(guard: AddressGuard, place: OciPlace, credentials: Credentials): RegistrySession {
  const { username = '', password, plainHttp } = credentials;
  return registrySession(place, {
    http: chartHttp(guard, credentials),
    ...(password !== undefined && { credentials: { username, password } }),
    isInsecure: plainHttp === true,
    errors: {
      unreachable: explainConnect,
      answered: (answer) => explainAnswer(answer, placeText(place)),
      insecureLogin: () =>
        new SourceError(`unable to read ${placeText(place)}: it asks for a login over plain HTTP, which is refused`),
      withoutToken: (host) => new SourceError(`unable to read ${placeText(place)}: ${host} answers the login without a token`),
      tooLarge: (message) => new SourceError(`unable to read ${placeText(place)}: ${message}`),
    },
  });
}

/** The newest version in a range, by the tags of the repository. */
async function newest(place: OciPlace, wanted: string, session: RegistrySession, signal: AbortSignal): Promise<string> {
  const versions: string[] = [];
  let path: string | undefined = 'tags/list?n=1000';
  for (let page = 0; path !== undefined && page < MAX_TAG_PAGES; page++) {
    const { body, headers } = await session.read(path, {}, MAX_ANSWER_BYTES, signal);
    versions.push(...tagsIn(body.toString('utf8'), place).map(versionOfTag));
    path = nextPage(headers['link'], session.base);
  }
  const version = chooseVersion(versions, wanted);
  if (version === undefined) throw noSuchVersion(place.chart, wanted, versions, placeText(place));
  return version;
}

function tagsIn(text: string, place: OciPlace): string[] {
  try {
    const list: unknown = JSON.parse(text);
    const tags = isObject(list) ? (list['tags'] ?? []) : undefined;
    if (Array.isArray(tags)) return tags.filter((tag) => typeof tag === 'string');
  } catch {
    // said below
  }
  throw new SourceError(`unable to read ${placeText(place)}: the registry answers without a list of tags`);
}

/** The next page of a list, as long as it is one of the same list. */
function nextPage(link: string | string[] | undefined, base: URL): string | undefined {
  const [, target = ''] = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(String(link ?? '')) ?? [];
  const list = new URL('tags/list', base);
  const url = target !== '' && URL.canParse(target, list.href) ? new URL(target, list) : undefined;
  return url?.origin === list.origin && url.pathname === list.pathname ? `tags/list${url.search}` : undefined;
}

function chartLayer(manifest: Buffer, place: OciPlace): Descriptor {
  const layer = readManifest(manifest.toString('utf8'))?.layers?.find(({ mediaType }) => CHART_LAYERS.has(mediaType ?? ''));
  if (!isDescriptor(layer))
    throw new SourceError(
      `${placeText(place)} holds no Helm chart: only artifacts that \`helm push\` makes are read. Correct repoURL and chart`,
    );
  return layer;
}
