import { type UnstructuredObject, StatusError, forbidden } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { AdmissionPlugin } from '../admission/admission-chain.ts';
import { type AuthorizationRequest, type Authorizer, MASTERS_GROUP } from './authorizer.ts';
import { type PolicyRule, RBAC_GROUP, type RbacSource, rulesOf, visitRules } from './rbac.ts';

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

function heldRules(source: RbacSource, user: UserInfo, namespace: string): PolicyRule[] {
  const held: PolicyRule[] = [];
  visitRules(source, user, namespace, (rule) => {
    held.push(rule);
    return false;
  });
  return held;
}

const ROLES: ReadonlySet<string> = new Set(['roles', 'clusterroles']);
const BINDINGS: ReadonlySet<string> = new Set(['rolebindings', 'clusterrolebindings']);

/** Nobody hands out rights they do not hold, unless they may `escalate` roles or `bind` them. */
export function escalationPlugin(source: RbacSource, authorizer: () => Authorizer): AdmissionPlugin {
  return {
    name: 'RBACEscalation',
    validate({ operation, group, resource, namespace, name, user, object, oldObject }) {
      const isWrite = operation === 'CREATE' || operation === 'UPDATE';
      if (group !== RBAC_GROUP || !isWrite || object === undefined || user.groups.includes(MASTERS_GROUP)) return;
      const may = (verb: string, target: string, targetName: string): boolean => {
        const request: AuthorizationRequest = {
          user,
          verb,
          resource: target,
          subresource: '',
          group,
          namespace,
          name: targetName,
          path: '',
          isResource: true,
        };
        return authorizer()(request).verdict === 'allow';
      };
      if (ROLES.has(resource)) {
        if (!hasSameRules(oldObject, object) && !may('escalate', resource, name))
          refuseUnheld(source, user, namespace, rulesIn(object), { resource, name });
      } else if (BINDINGS.has(resource)) {
        const role = object['roleRef'] as { kind?: string; name?: string } | undefined; // validated before
        const target = role?.kind === 'ClusterRole' ? 'clusterroles' : 'roles';
        if (may('bind', target, role?.name ?? '')) return;
        refuseUnheld(source, user, namespace, rulesOf(source, object, namespace), { resource, name });
      }
    },
  };
}

const hasSameRules = (before: UnstructuredObject | undefined, after: UnstructuredObject): boolean =>
  before !== undefined && JSON.stringify(rulesIn(before)) === JSON.stringify(rulesIn(after));

const rulesIn = (role: UnstructuredObject): PolicyRule[] => (Array.isArray(role['rules']) ? (role['rules'] as PolicyRule[]) : []); // validated before

function refuseUnheld(
  source: RbacSource,
  user: UserInfo,
  namespace: string,
  rules: readonly PolicyRule[],
  target: { resource: string; name: string },
): void {
  const held = heldRules(source, user, namespace);
  const missing = rules.flatMap(atomsOf).filter((atom) => !isCovered(atom, held));
  if (missing.length === 0) return;
  const groups = user.groups.map((name) => JSON.stringify(name)).join(' ');
  const error = forbidden(
    { resource: target.resource, group: RBAC_GROUP },
    target.name,
    `user ${JSON.stringify(user.username)} (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${[...byTarget(missing).values()].map(showAtoms).join('\n')}`,
  );
  throw new StatusError(error.status);
}
