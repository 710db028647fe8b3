import { isObject } from '@slipway/apimachinery';
import { ChartError } from '../chart/chart.ts';
import { readYamlData, YamlError } from '../functions/yaml.ts';

const INSTALL_ORDER =
  'PriorityClass Namespace NetworkPolicy ResourceQuota LimitRange PodSecurityPolicy PodDisruptionBudget ServiceAccount Secret SecretList ConfigMap StorageClass PersistentVolume PersistentVolumeClaim CustomResourceDefinition ClusterRole ClusterRoleList ClusterRoleBinding ClusterRoleBindingList Role RoleList RoleBinding RoleBindingList Service DaemonSet Pod ReplicationController ReplicaSet Deployment HorizontalPodAutoscaler StatefulSet Job CronJob IngressClass Ingress APIService MutatingWebhookConfiguration ValidatingWebhookConfiguration'.split(
    ' ',
  );
const RANK: ReadonlyMap<string, number> = new Map(INSTALL_ORDER.map((kind, index) => [kind, index]));

const HOOK_EVENTS = new Set([
  'pre-install',
  'post-install',
  'pre-delete',
  'post-delete',
  'pre-upgrade',
  'post-upgrade',
  'pre-rollback',
  'post-rollback',
  'test',
  'test-success',
]);

/** One object that a chart renders to, as text and as data. */
export interface Manifest {
  /** File of the chart that it came from. */
  readonly source: string;
  readonly text: string;
  readonly object: Readonly<Record<string, unknown>>;
  readonly kind: string;
  readonly name: string;
}

export interface Hook extends Manifest {
  readonly events: readonly string[];
  readonly weight: number;
  readonly deletePolicies: readonly string[];
}

export interface SortedManifests {
  readonly manifests: readonly Manifest[];
  readonly hooks: readonly Hook[];
}

/** Splits a file at its document separators. */
export function splitDocuments(text: string): string[] {
  return text
    .trim()
    .split(/(?:^|\s*\n)---[^\S\n]*(?:\n|$|(?=\S))/)
    .map((document) => document.trim())
    .filter((document) => document !== '');
}

/** Objects of all files in the order in which they are installed; hooks by their weight. */
export function sortManifests(files: ReadonlyMap<string, string>): SortedManifests {
  const manifests: Manifest[] = [];
  const hooks: Hook[] = [];
  for (const source of [...files.keys()].sort()) {
    for (const text of splitDocuments(files.get(source) ?? '')) {
      const manifest = readManifest(source, text);
      if (manifest === undefined) continue;
      const annotations = annotationsOf(manifest.object);
      if (!('helm.sh/hook' in annotations)) manifests.push(manifest);
      else hooks.push(...hookOf(manifest, annotations));
    }
  }
  return {
    manifests: manifests.sort(byKind),
    hooks: hooks.sort((a, b) => a.weight - b.weight || byKind(a, b) || byText(a.name, b.name)),
  };
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Known kinds in their order, unknown ones after them by name; equal ones stay as they were. */
export function byKind(a: { readonly kind: string }, b: { readonly kind: string }): number {
  const [first, second] = [RANK.get(a.kind), RANK.get(b.kind)];
  if (first === undefined && second === undefined) return byText(a.kind, b.kind);
  return (first ?? RANK.size) - (second ?? RANK.size);
}

function readManifest(source: string, text: string): Manifest | undefined {
  let data: unknown;
  try {
    data = readYamlData(text);
  } catch (error) {
    if (error instanceof YamlError)
      throw new ChartError(`YAML parse error on ${source}: error converting YAML to JSON: ${error.message}`);
    throw error;
  }
  // a document of comments only
  if (data === null || data === undefined) return undefined;
  if (!isObject(data))
    throw new ChartError(
      `YAML parse error on ${source}: error unmarshaling JSON: json: cannot unmarshal ${Array.isArray(data) ? 'array' : typeof data} into Go value of type releaseutil.SimpleHead`,
    );
  const metadata = isObject(data['metadata']) ? data['metadata'] : {};
  return { source, text, object: data, kind: textOr(data['kind']), name: textOr(metadata['name']) };
}

const textOr = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Annotations that are text. */
export function annotationsOf(object: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const annotations = isObject(metadata['annotations']) ? metadata['annotations'] : {};
  return Object.fromEntries(
    Object.entries(annotations).flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])),
  );
}

const commaList = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((item) => item.trim().toLowerCase())
    .filter((item) => item !== '');

function hookOf(manifest: Manifest, annotations: Readonly<Record<string, string>>): Hook[] {
  const events = commaList(annotations['helm.sh/hook']);
  // an unknown event makes Helm skip the whole object
  if (events.length === 0 || events.some((event) => !HOOK_EVENTS.has(event))) return [];
  const weight = Number.parseInt(annotations['helm.sh/hook-weight'] ?? '0', 10);
  const policies = commaList(annotations['helm.sh/hook-delete-policy']);
  return [
    {
      ...manifest,
      events: events.map((event) => (event === 'test-success' ? 'test' : event)),
      weight: Number.isNaN(weight) ? 0 : weight,
      deletePolicies: policies.length > 0 ? policies : ['before-hook-creation'],
    },
  ];
}
