import { type UnstructuredObject, StatusError, deepEqual, forbidden, isObject } from '@slipway/apimachinery';
import type { AdmissionRequest, PolicyRule, UserInfo } from '@slipway/runtime';
import type { AdmissionPlugin } from '../admission/admission-chain.ts';
import { type Authorizer, MASTERS_GROUP } from './authorizer.ts';
import { RBAC_GROUP, visitRules } from './rbac.ts';
import type { RbacIndex } from './rbac-index.ts';

const covers = (list: readonly string[] = [], value: string): boolean => list.includes('*') || list.includes(value);

/** One right: a single verb on a single resource, name or path. */
interface Atom {
  readonly verb: string;
  readonly group?: string;
  readonly resource?: string;
  readonly name?: string;
  readonly url?: string;
}

function atomsOf({ verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] }: PolicyRule): Atom[] {
  const names = resourceNames.length > 0 ? resourceNames : [undefined];
  const resourceAtoms = apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      verbs.flatMap((verb) => names.map((name): Atom => ({ verb, group, resource, ...(name !== undefined && { name }) }))),
    ),
  );
  return [...resourceAtoms, ...nonResourceURLs.flatMap((url) => verbs.map((verb): Atom => ({ verb, url })))];
}

function isCovered(atom: Atom, held: readonly PolicyRule[]): boolean {
  return held.some(({ verbs, apiGroups, resources, resourceNames = [], nonResourceURLs = [] }) => {
    if (!covers(verbs, atom.verb)) return false;
    if (atom.url !== undefined) {
      const { url } = atom;
      return nonResourceURLs.some((own) => own === '*' || own === url || (own.endsWith('*') && url.startsWith(own.slice(0, -1))));
    }
    const { resource = '' } = atom;
    const subresource = resource.includes('/') ? `*/${resource.slice(resource.indexOf('/') + 1)}` : resource;
    const holdsName = resourceNames.length === 0 || (atom.name !== undefined && resourceNames.includes(atom.name));
    return covers(apiGroups, atom.group ?? '') && (covers(resources, resource) || covers(resources, subresource)) && holdsName;
  });
}

/** Rights on the same target, so that the refusal names each target once. */
function byTarget(atoms: readonly Atom[]): Map<string, Atom[]> {
  const targets = new Map<string, Atom[]>();
  for (const atom of atoms) {
    const key = JSON.stringify([atom.group, atom.resource, atom.name, atom.url]);
    targets.set(key, [...(targets.get(key) ?? []), atom]);
  }
  return targets;
}

/** How rights on one target read in the refusal. */
function showAtoms(atoms: readonly Atom[]): string {
  const list = (values: readonly (string | undefined)[]): string =>
    `[${values.map((value) => JSON.stringify(value ?? '')).join(' ')}]`;
  const [first] = atoms;
  const verbs = list(atoms.map(({ verb }) => verb));
  if (first?.url !== undefined) return `{NonResourceURLs:${list([first.url])}, Verbs:${verbs}}`;
  const names = first?.name === undefined ? '' : `, ResourceNames:${list([first.name])}`;
  return `{APIGroups:${list([first?.group])}, Resources:${list([first?.resource])}${names}, Verbs:${verbs}}`;
}

function heldRules(index: RbacIndex, user: UserInfo, namespace: string): PolicyRule[] {
  const held: PolicyRule[] = [];
  visitRules(index, user, namespace, (rule) => {
    held.push(rule);
    return false;
  });
  return held;
}

const ROLES: ReadonlySet<string> = new Set(['roles', 'clusterroles']);
const BINDINGS: ReadonlySet<string> = new Set(['rolebindings', 'clusterrolebindings']);

/** Nobody hands out rights they do not hold, unless they may `escalate` roles or `bind` them. */
export function escalationPlugin(index: RbacIndex, authorizer: () => Authorizer): AdmissionPlugin {
  return {
    name: 'RBACEscalation',
    validate(request) {
      const { operation, group, resource, user, object, oldObject } = request;
      const isWrite = operation === 'CREATE' || operation === 'UPDATE';
      if (group !== RBAC_GROUP || !isWrite || object === undefined || user.groups.includes(MASTERS_GROUP)) return;
      if (oldObject !== undefined && isHousekeeping(oldObject, object)) return;
      if (ROLES.has(resource)) checkRole(index, authorizer(), request, object);
      else if (BINDINGS.has(resource)) checkBinding(index, authorizer(), request, object);
    },
  };
}

function checkRole(index: RbacIndex, authorizer: Authorizer, request: AdmissionRequest, role: UnstructuredObject): void {
  const { resource, name, oldObject } = request;
  if (!may(authorizer, request, 'escalate', resource, name)) refuseUnheld(index, request, rulesNeeded(role, oldObject));
}

function checkBinding(index: RbacIndex, authorizer: Authorizer, request: AdmissionRequest, binding: UnstructuredObject): void {
  const role = binding['roleRef'] as { kind?: string; name?: string } | undefined; // validated before
  const target = role?.kind === 'ClusterRole' ? 'clusterroles' : 'roles';
  if (may(authorizer, request, 'bind', target, role?.name ?? '')) return;
  refuseUnheld(index, request, index.roleOf({ binding, namespace: request.namespace }).rules);
}

function may(
  authorizer: Authorizer,
  { user, namespace }: AdmissionRequest,
  verb: string,
  resource: string,
  name: string,
): boolean {
  const target = { verb, group: RBAC_GROUP, resource, subresource: '', namespace, name, path: '' };
  return authorizer({ user, isResource: true, ...target }).verdict === 'allow';
}

/**
 * True when nothing changes but what the garbage collector needs. Labels count: one that a role is aggregated by hands
 * its rules to others.
 */
function isHousekeeping(before: UnstructuredObject, after: UnstructuredObject): boolean {
  const content = ({ metadata, ...rest }: UnstructuredObject): unknown => {
    const { ownerReferences: _o, finalizers: _f, managedFields: _m, resourceVersion: _r, ...kept } = metadata;
    return { ...rest, metadata: kept };
  };
  return deepEqual(content(before), content(after));
}

/** A role that collects others may come to hold anything, so it takes all rights to make one, or to change one. */
const ALL_RIGHTS: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

const isAggregated = (role: UnstructuredObject | undefined): boolean => {
  const rule = role?.['aggregationRule'];
  return isObject(rule) && Array.isArray(rule['clusterRoleSelectors']) && rule['clusterRoleSelectors'].length > 0;
};

const rulesNeeded = (role: UnstructuredObject, old: UnstructuredObject | undefined): readonly PolicyRule[] =>
  isAggregated(role) || isAggregated(old) ? ALL_RIGHTS : rulesIn(role);

const rulesIn = (role: UnstructuredObject): PolicyRule[] => (Array.isArray(role['rules']) ? (role['rules'] as PolicyRule[]) : []); // validated before

function refuseUnheld(
  index: RbacIndex,
  { user, namespace, resource, name: target }: AdmissionRequest,
  rules: readonly PolicyRule[],
): void {
  const held = heldRules(index, user, namespace);
  const missing = rules.flatMap(atomsOf).filter((atom) => !isCovered(atom, held));
  if (missing.length === 0) return;
  const groups = user.groups.map((name) => JSON.stringify(name)).join(' ');
  const error = forbidden(
    { resource, group: RBAC_GROUP },
    target,
    `user ${JSON.stringify(user.username)} (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${[...byTarget(missing).values()].map(showAtoms).join('\n')}`,
  );
  throw new StatusError(error.status);
}
