import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { RequestInfo } from '../routing/request-info.ts';

/** What a priority level allows. */
export interface LevelLimits {
  readonly name: string;
  /** Undefined: as many as come. */
  readonly seats: number | undefined;
  /** Requests of one flow that may wait; 0: none waits. */
  readonly queueLength: number;
}

type Matcher = (user: UserInfo, info: RequestInfo) => boolean;

interface Schema {
  readonly name: string;
  readonly level: string;
  readonly precedence: number;
  readonly flowOf: (user: UserInfo, info: RequestInfo) => string;
  readonly matches: Matcher;
}

export interface FlowConfig {
  readonly levels: readonly LevelLimits[];
  /** The level and the flow of a request. */
  classify(user: UserInfo, info: RequestInfo): { readonly schema: string; readonly level: string; readonly flow: string };
}

/** Where everything ends that no schema speaks of. */
const CATCH_ALL = 'catch-all';
const CATCH_ALL_SEATS = 5;

/** Compiles the stored objects. What cannot be read counts as absent: a mistake in one must not stop the server. */
export function compileFlowConfig(
  schemas: readonly UnstructuredObject[],
  levels: readonly UnstructuredObject[],
  totalSeats: number,
): FlowConfig {
  const limits = levelLimits(levels, totalSeats);
  const known = new Set(limits.map(({ name }) => name));
  const compiled = schemas
    .flatMap((object) => compileSchema(object) ?? [])
    .filter(({ level }) => known.has(level))
    .sort((a, b) => a.precedence - b.precedence || (a.name < b.name ? -1 : 1));
  return {
    levels: limits,
    classify(user, info) {
      const found = compiled.find(({ matches }) => matches(user, info));
      if (found === undefined) return { schema: CATCH_ALL, level: CATCH_ALL, flow: user.username };
      return { schema: found.name, level: found.level, flow: `${found.name}/${found.flowOf(user, info)}` };
    },
  };
}

function levelLimits(levels: readonly UnstructuredObject[], totalSeats: number): LevelLimits[] {
  const read = levels.map((object) => {
    const spec = isObject(object['spec']) ? object['spec'] : {};
    const limited = isObject(spec['limited']) ? spec['limited'] : {};
    const shares = Number(limited['nominalConcurrencyShares'] ?? limited['assuredConcurrencyShares'] ?? 30);
    return { name: object.metadata.name ?? '', isExempt: spec['type'] === 'Exempt', shares, queueLength: queueLengthOf(limited) };
  });
  const sum = read.reduce((total, { isExempt, shares }) => total + (isExempt ? 0 : shares), 0);
  const limits = read.map(({ name, isExempt, shares, queueLength }): LevelLimits => {
    const seats = isExempt ? undefined : Math.max(1, Math.ceil((totalSeats * shares) / sum));
    return { name, seats, queueLength };
  });
  const hasCatchAll = limits.some(({ name }) => name === CATCH_ALL);
  return hasCatchAll ? limits : [...limits, { name: CATCH_ALL, seats: CATCH_ALL_SEATS, queueLength: 0 }];
}

/** A flow is dealt a hand of queues, so so many of its requests may wait. */
function queueLengthOf({ limitResponse }: Record<string, unknown>): number {
  if (!isObject(limitResponse) || limitResponse['type'] !== 'Queue') return 0;
  const queuing = isObject(limitResponse['queuing']) ? limitResponse['queuing'] : {};
  return Number(queuing['handSize'] ?? 8) * Number(queuing['queueLengthLimit'] ?? 50);
}

function compileSchema({ metadata, spec }: UnstructuredObject): Schema | undefined {
  if (!isObject(spec) || !isObject(spec['priorityLevelConfiguration'])) return undefined;
  const rules = listOf(spec['rules']).map(compileRule);
  const method = isObject(spec['distinguisherMethod']) ? spec['distinguisherMethod']['type'] : undefined;
  return {
    name: metadata.name ?? '',
    level: String(spec['priorityLevelConfiguration']['name']),
    precedence: Number(spec['matchingPrecedence'] ?? 1000),
    flowOf: (user, { namespace }) => (method === 'ByUser' ? user.username : method === 'ByNamespace' ? namespace : ''),
    matches: (user, info) => rules.some((matches) => matches(user, info)),
  };
}

function compileRule(rule: Record<string, unknown>): Matcher {
  const subjects = listOf(rule['subjects']).map(subjectMatcher);
  const resources = listOf(rule['resourceRules']).map(resourceMatcher);
  const paths = listOf(rule['nonResourceRules']).map(pathMatcher);
  return (user, info) =>
    subjects.some((matches) => matches(user)) && (info.isResource ? resources : paths).some((matches) => matches(info));
}

function subjectMatcher(subject: Record<string, unknown>): (user: UserInfo) => boolean {
  const part = (name: string): Record<string, unknown> => (isObject(subject[name]) ? subject[name] : {});
  switch (subject['kind']) {
    case 'User': {
      const { name } = part('user');
      return ({ username }) => name === '*' || name === username;
    }
    case 'Group': {
      const { name } = part('group');
      return ({ groups }) => name === '*' || groups.includes(String(name));
    }
    case 'ServiceAccount': {
      const { namespace, name } = part('serviceAccount');
      const prefix = `system:serviceaccount:${String(namespace)}:`;
      return ({ username }) => username.startsWith(prefix) && (name === '*' || username === `${prefix}${String(name)}`);
    }
    default:
      return () => false;
  }
}

const has = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value);

function resourceMatcher(rule: Record<string, unknown>): (info: RequestInfo) => boolean {
  const [verbs, groups, resources, namespaces] = ['verbs', 'apiGroups', 'resources', 'namespaces'].map((name) =>
    textsOf(rule[name]),
  ) as [string[], string[], string[], string[]]; // as many as names
  const isClusterWide = rule['clusterScope'] === true;
  return ({ verb, group, resource, subresource, namespace }) =>
    has(verbs, verb) &&
    has(groups, group) &&
    has(resources, subresource === '' ? resource : `${resource}/${subresource}`) &&
    (namespace === '' ? isClusterWide : has(namespaces, namespace));
}

function pathMatcher(rule: Record<string, unknown>): (info: RequestInfo) => boolean {
  const verbs = textsOf(rule['verbs']);
  const urls = textsOf(rule['nonResourceURLs']);
  return ({ verb, path }) =>
    has(verbs, verb) &&
    urls.some((url) => url === '*' || url === path || (url.endsWith('/*') && path.startsWith(url.slice(0, -1))));
}

const listOf = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isObject) : []);
const textsOf = (value: unknown): string[] => (Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []);
