import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import type { Client } from './client.ts';

export interface DiscoveredKind extends ResourceKind<KubeObject> {
  readonly verbs: readonly string[];
}

interface ApiResourceList {
  readonly groupVersion?: string;
  readonly resources?: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
    readonly verbs?: readonly string[];
    readonly group?: string;
    readonly version?: string;
  }[];
}

interface GroupVersion {
  readonly groupVersion: string;
}

interface ApiGroupList {
  readonly groups?: readonly { readonly preferredVersion?: GroupVersion; readonly versions?: readonly GroupVersion[] }[];
}

/**
 * Every resource that the server offers, without subresources: each in its group's preferred version, or in the first one
 * that has it.
 */
export async function discoverKinds(client: Client, signal?: AbortSignal): Promise<readonly DiscoveredKind[]> {
  const options = signal && { signal };
  const fetchJson = async <T>(path: string): Promise<T> => {
    const { body } = await client.raw({ method: 'GET', path, ...options });
    // discovery documents have a fixed shape
    return body as T;
  };
  const { groups = [] } = await fetchJson<ApiGroupList>('/apis');
  const versions = groups.flatMap((group) => [
    ...(group.preferredVersion ? [group.preferredVersion] : []),
    ...(group.versions ?? []),
  ]);
  const paths = new Set(['/api/v1', ...versions.map(({ groupVersion }) => `/apis/${groupVersion}`)]);
  const lists = await inOrder([...paths], (path) => fetchJson<ApiResourceList>(path));
  const kinds = new Map<string, DiscoveredKind>();
  for (const kind of lists.flatMap(kindsOf)) {
    const key = `${kind.plural}.${kind.group}`;
    if (!kinds.has(key)) kinds.set(key, kind);
  }
  return [...kinds.values()];
}

/** A connection for each of a hundred small questions would cost both sides more than the answers. */
const QUESTIONS_AT_ONCE = 4;

/** Answers in the order of the questions, of which a few are asked at once. */
async function inOrder<Q, A>(questions: readonly Q[], ask: (question: Q) => Promise<A>): Promise<A[]> {
  const answers: A[] = [];
  const rest = questions.entries(); // shared: each takes the next
  const askOn = async (): Promise<void> => {
    for (const [index, question] of rest) answers[index] = await ask(question);
  };
  await Promise.all(Array.from({ length: QUESTIONS_AT_ONCE }, askOn));
  return answers;
}

function kindsOf({ groupVersion = '', resources = [] }: ApiResourceList): readonly DiscoveredKind[] {
  const slash = groupVersion.indexOf('/');
  const group = slash < 0 ? '' : groupVersion.slice(0, slash);
  const version = groupVersion.slice(slash + 1);
  return resources
    .filter(({ name }) => !name.includes('/'))
    .map(({ name, kind, namespaced, verbs = [] }) => ({ group, version, kind, plural: name, namespaced, verbs }));
}
