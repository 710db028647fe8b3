import { type UnstructuredObject, deepEqual, forbidden, isObject } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Registry } from '../../registry/registry.ts';
import type { AdmissionPlugin } from '../admission-chain.ts';
import { BASELINE } from './baseline.ts';
import type { SecuredPod, SecurityFinding } from './pod-shape.ts';
import { RESTRICTED } from './restricted.ts';

export type SecurityLevel = 'privileged' | 'baseline' | 'restricted';
type Mode = 'enforce' | 'audit' | 'warn';

const PREFIX = 'pod-security.kubernetes.io/';

/** What a level has against a pod. */
export function securityFindings(pod: SecuredPod, level: SecurityLevel): SecurityFinding[] {
  if (level === 'privileged') return [];
  const isRestricted = level === 'restricted';
  const checks = BASELINE.filter(({ isReplaced }) => !(isRestricted && isReplaced === true)).map(({ check }) => check);
  return [...checks, ...(isRestricted ? RESTRICTED : [])].flatMap((check) => check(pod) ?? []);
}

interface Wanted {
  readonly level: SecurityLevel;
  /** `restricted:latest`, as messages name it. */
  readonly shown: string;
}

function wantedBy(labels: Readonly<Record<string, string>> | undefined, mode: Mode): Wanted {
  const level = labels?.[`${PREFIX}${mode}`];
  const known = level === 'baseline' || level === 'restricted' ? level : 'privileged';
  return { level: known, shown: `${known}:${labels?.[`${PREFIX}${mode}-version`] ?? 'latest'}` };
}

const textOf = (findings: readonly SecurityFinding[]): string =>
  findings.map(({ reason, detail }) => `${reason} (${detail})`).join(', ');

/** Resources whose pods come later, and where their template is: they are warned about, never refused. */
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  '/replicationcontrollers': ['spec', 'template'],
  '/podtemplates': ['template'],
  'apps/deployments': ['spec', 'template'],
  'apps/replicasets': ['spec', 'template'],
  'apps/statefulsets': ['spec', 'template'],
  'apps/daemonsets': ['spec', 'template'],
  'batch/jobs': ['spec', 'template'],
  'batch/cronjobs': ['spec', 'jobTemplate', 'spec', 'template'],
};

/** Holds pods to the security level that their namespace's labels ask for. */
export function podSecurityPlugin(registry: Registry): AdmissionPlugin {
  return {
    name: 'PodSecurity',
    validate(request, warn) {
      const { operation, group, resource, subresource, object, namespace } = request;
      if (object === undefined || (operation !== 'CREATE' && operation !== 'UPDATE')) return;
      const labels = (): Readonly<Record<string, string>> | undefined =>
        registry.lookup('', 'namespaces', '', namespace)?.metadata.labels;
      if (group === '' && resource === 'pods' && (subresource === '' || subresource === 'ephemeralcontainers')) {
        if (!isUnchanged(request)) judgePod(request, object, labels(), warn);
        return;
      }
      const path = subresource === '' ? TEMPLATES[`${group}/${resource}`] : undefined;
      const template = path && at(object, path);
      if (template !== undefined) warnAbout(template, labels(), warn);
      if (group === '' && resource === 'namespaces' && subresource === '') warnAboutNamespace(registry, request, object, warn);
    },
  };
}

/** An update that leaves the spec alone is no new decision. */
const isUnchanged = ({ object, oldObject }: AdmissionRequest): boolean =>
  oldObject !== undefined && deepEqual(object?.['spec'], oldObject['spec']);

function judgePod(
  request: AdmissionRequest,
  object: UnstructuredObject,
  labels: Readonly<Record<string, string>> | undefined,
  warn: (text: string) => void,
): void {
  const pod = securedPod(object);
  const { level, shown } = wantedBy(labels, 'enforce');
  const findings = securityFindings(pod, level);
  if (findings.length > 0) {
    throw forbidden(
      { resource: request.resource, group: request.group },
      request.name,
      `violates PodSecurity ${JSON.stringify(shown)}: ${textOf(findings)}`,
    );
  }
  warnAbout(object, labels, warn);
}

function warnAbout(
  template: Pick<UnstructuredObject, 'metadata'> & Record<string, unknown>,
  labels: Readonly<Record<string, string>> | undefined,
  warn: (text: string) => void,
): void {
  const { level, shown } = wantedBy(labels, 'warn');
  const findings = securityFindings(securedPod(template), level);
  if (findings.length > 0) warn(`would violate PodSecurity ${JSON.stringify(shown)}: ${textOf(findings)}`);
}

function securedPod(object: Record<string, unknown>): SecuredPod {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const annotations = isObject(metadata['annotations']) ? (metadata['annotations'] as Record<string, string>) : {}; // validated
  const spec = (isObject(object['spec']) ? object['spec'] : {}) as SecuredPod['spec']; // decoded by the schema
  return { annotations, spec };
}

function at(object: UnstructuredObject, path: readonly string[]): UnstructuredObject | undefined {
  let current: unknown = object;
  for (const part of path) current = isObject(current) ? current[part] : undefined;
  return isObject(current) ? (current as UnstructuredObject) : undefined; // a template has the parts that are read
}

/** A namespace that turns stricter hears which of its pods would not be let in today. */
function warnAboutNamespace(
  registry: Registry,
  { oldObject }: AdmissionRequest,
  object: UnstructuredObject,
  warn: (text: string) => void,
): void {
  if (oldObject === undefined) return;
  const [next, old] = [wantedBy(object.metadata.labels, 'enforce'), wantedBy(oldObject.metadata.labels, 'enforce')];
  if (next.shown === old.shown || next.level === 'privileged') return;
  const byFindings = new Map<string, string[]>();
  const namespace = object.metadata.name ?? '';
  for (const pod of registry.lookupAll('', 'pods', namespace)) {
    const findings = securityFindings(securedPod(pod), next.level);
    if (findings.length === 0) continue;
    const text = findings.map(({ reason }) => reason).join(', ');
    byFindings.set(text, [...(byFindings.get(text) ?? []), pod.metadata.name ?? '']);
  }
  if (byFindings.size === 0) return;
  warn(
    `existing pods in namespace ${JSON.stringify(namespace)} violate the new PodSecurity enforce level ${JSON.stringify(next.shown)}`,
  );
  for (const [text, names] of byFindings) {
    const others = names.length - 1;
    const more = others === 0 ? '' : ` (and ${others} other ${others === 1 ? 'pod' : 'pods'})`;
    warn(`${names[0]}${more}: ${text}`);
  }
}
