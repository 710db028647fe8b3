import { isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { RequestInfo } from '../routing/request-info.ts';

/** How much of a request is recorded: nothing, who did what, or also what was sent. */
export type AuditLevel = 'None' | 'Metadata' | 'Request';

/** The level of a request with its outcome. */
export type AuditPolicy = (user: UserInfo, info: RequestInfo, code: number) => AuditLevel;

const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch']);

/** Everything that changes something or is refused, at one level; reads would drown it. */
export const changesAt =
  (level: AuditLevel): AuditPolicy =>
  (_user, { verb }, code) =>
    READS.has(verb) && code < 400 ? 'None' : level;

type Rule = (user: UserInfo, info: RequestInfo) => boolean;

/** Compiles an `audit.k8s.io/v1` Policy: the first rule that matches decides. Throws an Error that names the wrong field. */
export function compileAuditPolicy(file: unknown): AuditPolicy {
  if (!isObject(file) || file['kind'] !== 'Policy' || file['apiVersion'] !== 'audit.k8s.io/v1')
    throw new Error('A Policy of audit.k8s.io/v1 is needed');
  const rules = listAt('rules', file['rules']).map((rule, index) => ({
    level: levelAt(`rules[${index}].level`, rule['level']),
    matches: compileRule(`rules[${index}]`, rule),
  }));
  if (rules.length === 0) throw new Error('rules: at least one is needed');
  return (user, info) => rules.find(({ matches }) => matches(user, info))?.level ?? 'None';
}

const KNOWN_FIELDS: readonly string[] = [
  ...['level', 'users', 'userGroups', 'verbs', 'resources', 'namespaces', 'nonResourceURLs'],
  ...['omitStages', 'omitManagedFields'], // one line is written for each request, when it has been answered
];

function compileRule(path: string, rule: Record<string, unknown>): Rule {
  const unknown = Object.keys(rule).find((name) => !KNOWN_FIELDS.includes(name));
  if (unknown !== undefined) throw new Error(`${path}.${unknown}: is not known`);
  const texts = (name: string): string[] | undefined => textsAt(`${path}.${name}`, rule[name]);
  const [users, groups, verbs, namespaces, urls] = [
    texts('users'),
    texts('userGroups'),
    texts('verbs'),
    texts('namespaces'),
    texts('nonResourceURLs'),
  ];
  const resources = listAt(`${path}.resources`, rule['resources']).map((item, index) =>
    compileResources(`${path}.resources[${index}]`, item),
  );
  return (user, info) => {
    if (users !== undefined && !users.includes(user.username)) return false;
    if (groups !== undefined && !groups.some((group) => user.groups.includes(group))) return false;
    if (verbs !== undefined && !verbs.includes(info.verb)) return false;
    if (!info.isResource) return resources.length === 0 && namespaces === undefined && matchesPath(urls, info.path);
    if (urls !== undefined) return false;
    if (namespaces !== undefined && !namespaces.includes(info.namespace)) return false;
    return resources.length === 0 || resources.some((matches) => matches(info));
  };
}

function compileResources(path: string, item: Record<string, unknown>): (info: RequestInfo) => boolean {
  const group = item['group'] ?? '';
  const resources = textsAt(`${path}.resources`, item['resources']);
  const names = textsAt(`${path}.resourceNames`, item['resourceNames']);
  return (info) => {
    if (info.group !== group) return false;
    if (names !== undefined && !names.includes(info.name)) return false;
    const { resource, subresource } = info;
    const wanted = subresource === '' ? resource : `${resource}/${subresource}`;
    const patterns = ['*', wanted, ...(subresource === '' ? [] : [`*/${subresource}`, `${resource}/*`])];
    return resources === undefined || resources.some((pattern) => patterns.includes(pattern));
  };
}

const matchesPath = (urls: readonly string[] | undefined, path: string): boolean =>
  urls === undefined ||
  urls.some((url) => url === '*' || url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1))));

function levelAt(path: string, value: unknown): AuditLevel {
  if (value === 'None' || value === 'Metadata' || value === 'Request') return value;
  throw new Error(`${path}: must be None, Metadata or Request; answers are not recorded`);
}

function listAt(path: string, value: unknown): Record<string, unknown>[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw new Error(`${path}: must be a list of objects`);
  return value;
}

/** Undefined when empty: then the field says nothing. */
function textsAt(path: string, value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    throw new Error(`${path}: must be a list of texts`);
  return value.length === 0 ? undefined : value;
}
