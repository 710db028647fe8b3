import type { ApplicationSource } from '../kinds.ts';
import { isChartSource } from './chart-place.ts';
import type { ChartRepositories } from './chart-repositories.ts';
import type { Credentials } from './credentials.ts';
import type { GitRepositories } from './git.ts';

/** Sources as directories of files, wherever they come from. */
export interface Repositories {
  /** The commit or version that a revision means now. */
  resolve(source: ApplicationSource, revision: string, credentials: Credentials, signal: AbortSignal): Promise<string>;
  /** A directory with the files of a commit or version. It must not be changed. */
  checkout(
    source: ApplicationSource,
    wanted: { readonly revision: string; readonly resolved: string },
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<string>;
  readonly charts: ChartRepositories;
}

/** git, and what holds packaged charts. */
export function repositories(git: GitRepositories, charts: ChartRepositories): Repositories {
  const chartOf = ({ repoURL, chart = '' }: ApplicationSource) => ({ repoURL, chart });
  const entering = (source: ApplicationSource, credentials: Credentials): Credentials =>
    source.helm?.passCredentials ? { ...credentials, passCredentials: true } : credentials;
  return {
    charts,
    resolve: (source, revision, credentials, signal) =>
      isChartSource(source)
        ? charts.resolve(chartOf(source), revision, entering(source, credentials), signal)
        : git.resolve(source.repoURL, revision, credentials, signal),
    checkout: (source, { revision, resolved }, credentials, signal) =>
      isChartSource(source)
        ? charts.checkout(chartOf(source), resolved, entering(source, credentials), signal)
        : git.checkout(source.repoURL, revision, resolved, credentials, signal),
  };
}

/** What a source follows when it does not say. */
export const defaultRevision = (source: ApplicationSource): string => (isChartSource(source) ? '*' : 'HEAD');
