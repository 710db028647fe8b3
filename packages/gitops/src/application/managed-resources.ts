import { isNotFound, isObject, type JsonObject, notFound, StatusError } from '@slipway/apimachinery';
import type { AggregatedApi, RouteRequest } from '@slipway/runtime';
import { comparable } from '../compare/normalize.ts';
import { type Compared, predictedOf } from '../compare/resources.ts';
import { type Application, ApplicationKind, GITOPS_NAMESPACES } from '../kinds.ts';
import { type Comparison, isSourceFault } from './comparison.ts';

/** One object of an application, as it is and as a sync would make it; what Secrets hold is not shown. */
export interface ManagedResource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Absent: not there. */
  readonly live?: JsonObject;
  /** Absent: no longer in the sources. */
  readonly target?: JsonObject;
  readonly isDifferent: boolean;
}

/** Of the controller, once it runs. */
export interface ManagedResourcesDeps {
  read(namespace: string, name: string, signal: AbortSignal): Promise<Application>;
  differences(app: Application, revisions: readonly (string | undefined)[], signal: AbortSignal): Promise<Comparison>;
}

/** For `slipway app diff`: only who may read this resource sees objects of whatever namespaces an application has. */
export const MANAGED_RESOURCES = { group: 'gitops.slipway.dev', version: 'v1', resource: 'applications' } as const;

const REFERENCE = { group: ApplicationKind.group, resource: ApplicationKind.plural };

/** `GET …/namespaces/NS/applications/NAME/managed-resources[?revision=REVISION]` */
export function managedResourcesApi(deps: () => ManagedResourcesDeps | undefined): AggregatedApi {
  return {
    group: MANAGED_RESOURCES.group,
    versions: [MANAGED_RESOURCES.version],
    routes: [
      {
        resource: MANAGED_RESOURCES.resource,
        namespaced: true,
        subresource: 'managed-resources',
        discoverable: true,
        methods: { GET: async (request) => ({ status: 200, body: await managedResources(deps(), request) }) },
      },
    ],
  };
}

async function managedResources(
  deps: ManagedResourcesDeps | undefined,
  { namespace, name, query, signal }: RouteRequest,
): Promise<{ readonly items: readonly ManagedResource[]; readonly revisions: readonly string[] }> {
  if (deps === undefined) throw unavailable('the controller has not started yet');
  if (!GITOPS_NAMESPACES.has(namespace)) throw notFound(REFERENCE, name);
  const app = await deps.read(namespace, name, signal);
  try {
    const { desired, resources } = await deps.differences(app, [query.get('revision') ?? undefined], signal);
    return { items: resources.filter(({ live, target }) => live ?? target).map(shown), revisions: desired.revisions };
  } catch (error) {
    if (isSourceFault(error)) throw unavailable(error.message);
    if (isNotFound(error)) throw notFound(REFERENCE, name);
    throw error;
  }
}

const unavailable = (message: string): StatusError => new StatusError({ code: 503, reason: 'ServiceUnavailable', message });

/** Pure. */
export function shown({ kind, namespace, name, live, target, patch }: Compared): ManagedResource {
  const isSecret = kind.group === '' && kind.kind === 'Secret';
  const before = live && comparable(live as unknown as JsonObject);
  // what is only worded differently is shown as it is
  const after = target && (live ? (patch === undefined ? before : comparable(predictedOf(live, target))) : comparable(target));
  return {
    ...{ group: kind.group, version: kind.version, kind: kind.kind, namespace: kind.namespaced ? namespace : '', name },
    ...(before && { live: isSecret ? masked(before, after, 'before') : before }),
    ...(after && { target: isSecret ? masked(after, before, 'after') : after }),
    isDifferent: live === undefined || target === undefined || patch !== undefined,
  };
}

/** Equal values stay equal and different ones different. */
function masked(object: JsonObject, other: JsonObject | undefined, when: string): JsonObject {
  const others = isObject(other?.['data']) ? other['data'] : {};
  const data = isObject(object['data']) ? object['data'] : {};
  const hidden = Object.entries(data).map(([key, value]) => [key, others[key] === value ? '********' : `******** (${when})`]);
  return { ...object, ...(object['data'] !== undefined && { data: Object.fromEntries(hidden) }) };
}
