import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { globTest } from '@slipway/helm';
import type { ApplicationSource, ApplicationSpec, AppProject, GroupKind } from '../kinds.ts';
import { sourcesOf } from '../kinds.ts';

const IN_CLUSTER = 'https://kubernetes.default.svc';

/** Why an application may not be as it is; empty when it may. */
export function specComplaints({ destination, ...spec }: ApplicationSpec, project: AppProject | undefined): string[] {
  const complaints: string[] = [];
  const sources = sourcesOf({ ...spec, destination });
  if (sources.length === 0) complaints.push('spec.source is required');
  if (sources.some(({ chart }) => chart))
    complaints.push('charts of Helm repositories are not supported: use a chart in a git repository');
  complaints.push(...destinationComplaints(destination));
  if (project === undefined) {
    const isGone = spec.project !== undefined && spec.project !== '' && spec.project !== 'default';
    return isGone ? [...complaints, `Application referencing project ${spec.project} which does not exist`] : complaints;
  }
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
    if (!matchesAny(project.spec?.sourceRepos ?? [], repoURL))
      complaints.push(`application repo ${repoURL} is not permitted in project '${project.metadata.name}'`);
  const isAllowed = (project.spec?.destinations ?? []).some(
    (entry) =>
      (matches(entry.server ?? '', IN_CLUSTER) || matches(entry.name ?? '', 'in-cluster')) &&
      matches(entry.namespace ?? '*', namespace),
  );
  if (!isAllowed)
    complaints.push(
      `application destination server '${IN_CLUSTER}' and namespace '${namespace}' do not match any of the allowed destinations in project '${project.metadata.name}'`,
    );
  return complaints;
}

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

const holds = (list: readonly GroupKind[], kind: ResourceKind<KubeObject>): boolean =>
  list.some((entry) => matches(entry.group ?? '', kind.group) && matches(entry.kind ?? '', kind.kind));

/** Whether a project lets its applications have objects of this kind, in this namespace. */
export function isPermitted(project: AppProject | undefined, kind: ResourceKind<KubeObject>, namespace: string): boolean {
  if (project?.spec === undefined) return true;
  const {
    clusterResourceWhitelist,
    clusterResourceBlacklist,
    namespaceResourceWhitelist,
    namespaceResourceBlacklist,
    destinations = [],
  } = project.spec;
  if (!kind.namespaced) return holds(clusterResourceWhitelist ?? [], kind) && !holds(clusterResourceBlacklist ?? [], kind);
  const isWanted = namespaceResourceWhitelist === undefined || holds(namespaceResourceWhitelist, kind);
  return (
    isWanted &&
    !holds(namespaceResourceBlacklist ?? [], kind) &&
    destinations.some((entry) => matches(entry.namespace ?? '*', namespace))
  );
}
