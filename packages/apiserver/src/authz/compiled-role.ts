import type { PolicyRule } from '@slipway/runtime';
import type { AuthorizationRequest } from './authorizer.ts';

/** Names a verb is granted for; `undefined`: all. */
type Names = ReadonlySet<string> | undefined;

/** The rules of a role by what they are about, so that a question costs a few look-ups however many rules there are. */
export class CompiledRole {
  readonly rules: readonly PolicyRule[];
  /** By `group\0resource`, then by verb; each may be `*`. */
  private readonly resources = new Map<string, Map<string, Names>>();
  private readonly paths: { readonly verbs: readonly string[]; readonly urls: readonly string[] }[] = [];

  constructor(rules: readonly PolicyRule[]) {
    this.rules = rules;
    for (const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } of rules) {
      const names = resourceNames.length > 0 ? new Set(resourceNames) : undefined;
      for (const group of apiGroups) for (const resource of resources) this.addResource(group, resource, verbs, names);
      if (nonResourceURLs.length > 0) this.paths.push({ verbs, urls: nonResourceURLs });
    }
  }

  allows(request: AuthorizationRequest): boolean {
    if (!request.isResource) return this.allowsPath(request.verb, request.path);
    const { group, resource, subresource } = request;
    const wanted = subresource === '' ? resource : `${resource}/${subresource}`;
    return (
      this.allowsResource(group, wanted, request) ||
      this.allowsResource('*', wanted, request) ||
      this.allowsResource(group, '*', request) ||
      this.allowsResource('*', '*', request) ||
      (subresource !== '' &&
        (this.allowsResource(group, `*/${subresource}`, request) || this.allowsResource('*', `*/${subresource}`, request)))
    );
  }

  private allowsResource(group: string, resource: string, { verb, name }: AuthorizationRequest): boolean {
    const verbs = this.resources.get(`${group}\0${resource}`);
    return verbs !== undefined && (grants(verbs, verb, name) || grants(verbs, '*', name));
  }

  private allowsPath(verb: string, path: string): boolean {
    return this.paths.some(
      ({ verbs, urls }) =>
        (verbs.includes(verb) || verbs.includes('*')) &&
        urls.some((url) => url === '*' || url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1)))),
    );
  }

  private addResource(group: string, resource: string, verbs: readonly string[], names: Names): void {
    const key = `${group}\0${resource}`;
    let known = this.resources.get(key);
    if (known === undefined) this.resources.set(key, (known = new Map()));
    for (const verb of verbs) known.set(verb, known.has(verb) ? union(known.get(verb), names) : names);
  }
}

function grants(verbs: ReadonlyMap<string, Names>, verb: string, name: string): boolean {
  const names = verbs.get(verb);
  return names === undefined ? verbs.has(verb) : names.has(name);
}

const union = (a: Names, b: Names): Names => (a === undefined || b === undefined ? undefined : new Set([...a, ...b]));
