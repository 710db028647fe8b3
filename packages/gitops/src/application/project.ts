import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { globTest } from '@slipway/helm';
import type { ApplicationSource, ApplicationSpec, AppProject, GroupKind } from '../kinds.ts';
import { DEFAULT_PROJECT, sourcesOf } from '../kinds.ts';

export const IN_CLUSTER = 'https://kubernetes.default.svc';

/** Why an application may not be as it is; empty when it may. */
export function specComplaints({ destination, ...spec }: ApplicationSpec, project: AppProject | undefined): string[] {
  const complaints: string[] = [];
  const sources = sourcesOf({ ...spec, destination });
  if (sources.length === 0) complaints.push('spec.source is required');
  complaints.push(...destinationComplaints(destination));
  // without a project nothing is permitted, `default` included
  if (project === undefined)
    return [...complaints, `Application referencing project ${spec.project || DEFAULT_PROJECT} which does not exist`];
  return [...complaints, ...projectComplaints(project, sources, destination.namespace ?? '')];
}

function destinationComplaints({ server, name }: ApplicationSpec['destination']): string[] {
  const complaints: string[] = [];
  if (server && name) complaints.push(`application destination can't have both name and server defined: ${name} ${server}`);
  if (!server && !name) complaints.push('Destination server missing from app spec');
  if ((server && server !== IN_CLUSTER) || (name && name !== 'in-cluster'))
    complaints.push(`cluster ${server || name} is not configured: only ${IN_CLUSTER} is`);
  return complaints;
}

function projectComplaints(project: AppProject, sources: readonly ApplicationSource[], namespace: string): string[] {
  const complaints: string[] = [];
  for (const { repoURL } of sources)
    if (!permitsRepository(project, repoURL))
      complaints.push(`application repo ${repoURL} is not permitted in project '${project.metadata.name}'`);
  if (!isDestination(project.spec?.destinations ?? [], namespace))
    complaints.push(
      `application destination server '${IN_CLUSTER}' and namespace '${namespace}' do not match any of the allowed destinations in project '${project.metadata.name}'`,
    );
  return complaints;
}

/** Whether the applications of a project may read a repository. */
export const permitsRepository = ({ spec }: AppProject, url: string): boolean => matchesAny(spec?.sourceRepos ?? [], url);

function matches(pattern: string, value: string): boolean {
  return pattern === '*' || pattern === value || (globTest(pattern)?.(value) ?? false);
}

/** Later patterns that start with an exclamation mark take permission away. */
function matchesAny(patterns: readonly string[], value: string): boolean {
  const denied = patterns.some((pattern) => pattern.startsWith('!') && matches(pattern.slice(1), value));
  return (
    !denied &&
    patterns.some(
      (pattern) =>
        matches(pattern, value) ||
        (pattern.includes('*') && new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`).test(value)),
    )
  );
}

const escaped = (text: string): string => text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');

const holds = (list: readonly GroupKind[], kind: ResourceKind<KubeObject>, name: string): boolean =>
  list.some(
    (entry) =>
      matches(entry.group ?? '', kind.group) &&
      matches(entry.kind ?? '', kind.kind) &&
      (!entry.name || matches(entry.name, name)),
  );

/** Whether a project lets its applications have this object. */
export function isPermitted(
  project: AppProject,
  { kind, namespace, name }: { readonly kind: ResourceKind<KubeObject>; readonly namespace: string; readonly name: string },
): boolean {
  const {
    clusterResourceWhitelist = [],
    clusterResourceBlacklist = [],
    namespaceResourceWhitelist,
    namespaceResourceBlacklist = [],
    destinations = [],
  } = project.spec ?? {};
  if (!kind.namespaced) return holds(clusterResourceWhitelist, kind, name) && !holds(clusterResourceBlacklist, kind, name);
  const isWanted = namespaceResourceWhitelist === undefined || holds(namespaceResourceWhitelist, kind, name);
  return isWanted && !holds(namespaceResourceBlacklist, kind, name) && isDestination(destinations, namespace);
}

type Destinations = NonNullable<NonNullable<AppProject['spec']>['destinations']>;

/** Patterns with an exclamation mark take away what others give. */
function isDestination(destinations: Destinations, namespace: string): boolean {
  const isHere = ({ server, name }: Destinations[number]): boolean =>
    [server ?? '', name ?? ''].some((text, index) => matches(text.replace(/^!/, ''), index === 0 ? IN_CLUSTER : 'in-cluster'));
  const isDenied = destinations.some(
    (entry) =>
      (entry.namespace?.startsWith('!') === true && isHere(entry) && matches(entry.namespace.slice(1), namespace)) ||
      ((entry.server?.startsWith('!') === true || entry.name?.startsWith('!') === true) && isHere(entry)),
  );
  return (
    !isDenied &&
    destinations.some((entry) => !entry.namespace?.startsWith('!') && isHere(entry) && matches(entry.namespace ?? '', namespace))
  );
}
