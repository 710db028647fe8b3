import { isTag, parseReference, type RegistryRepository } from '@slipway/runtime';
import type { ApplicationSource } from '../kinds.ts';
import { SourceError } from './source-error.ts';

/** Where a packaged chart comes from. */
export type ChartPlace =
  | { readonly type: 'http'; readonly repository: URL; readonly chart: string }
  | ({ readonly type: 'oci'; readonly chart: string } & RegistryRepository);

const OCI = 'oci://';

/** Whether a source is a chart repository or registry, and not git. */
export const isChartSource = ({ chart, repoURL }: Pick<ApplicationSource, 'chart' | 'repoURL'>): boolean =>
  (chart !== undefined && chart !== '') || isOci(repoURL);

const isOci = (repoURL: string): boolean => repoURL.toLowerCase().startsWith(OCI);

/**
 * What a source's `repoURL` and `chart` mean: with `oci://` or without a scheme a registry, of which the chart is a
 * repository; else a Helm repository. Throws SourceError.
 */
export function chartPlace(repoURL: string, chart: string): ChartPlace {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(repoURL);
  if (isOci(repoURL) || !hasScheme) return registryPlace(repoURL, chart);
  const url = URL.canParse(repoURL) ? new URL(repoURL) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || !isChartName(chart))
    throw new SourceError(
      `chart ${JSON.stringify(chart)} of ${JSON.stringify(shown(repoURL))} is not supported: Helm repositories are https:// or http://, registries are oci:// or without a scheme`,
    );
  if (url.username !== '' || url.password !== '')
    throw new SourceError(
      'credentials in the URL of a Helm repository are refused: put them into a Secret with the label argocd.argoproj.io/secret-type',
    );
  url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return { type: 'http', repository: url, chart };
}

function registryPlace(repoURL: string, chart: string): ChartPlace {
  const bare = repoURL.replace(/^oci:\/\//i, '').replace(/\/+$/, '');
  const name = chart === '' ? bare : `${bare}/${chart}`;
  const place = /[@?#]/.test(name) ? undefined : parseReference(name);
  // a tag belongs into targetRevision, and a registry has to be named: a chart without one is no image of Docker Hub
  if (place === undefined || place.reference !== 'latest' || name.endsWith(':latest') || !/^[^/]*[.:]|^localhost\//.test(name))
    throw new SourceError(
      `${JSON.stringify(shown(name))} is not a repository of a registry such as oci://registry.example/charts/name`,
    );
  const { registry, repository } = place;
  return { type: 'oci', registry, repository, chart: chart === '' ? (repository.split('/').at(-1) ?? '') : chart };
}

const isChartName = (chart: string): boolean => chart !== '' && !/[/\\\0]/.test(chart) && chart !== '..';

/** Without what might be a password. */
const shown = (url: string): string => url.replace(/\/\/[^/@]*@/, '//');

/** For messages. */
export const placeText = (place: ChartPlace): string =>
  place.type === 'http'
    ? `${place.repository.origin}${place.repository.pathname}`
    : `${OCI}${place.registry}/${place.repository}`;

/** Tags have no `+`. */
export const tagOf = (version: string): string | undefined => {
  const tag = version.replaceAll('+', '_');
  return isTag(tag) ? tag : undefined;
};

export const versionOfTag = (tag: string): string => tag.replaceAll('_', '+');
