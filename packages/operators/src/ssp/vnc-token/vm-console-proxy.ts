import { RoleBindingKind, RoleKind, ServiceAccountKind, type VirtualMachine, VirtualMachineKind } from '@slipway/api';
import {
  isAlreadyExists,
  isConflict,
  isNotFound,
  isObject,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  StatusError,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  accessReviewRules,
  type AggregatedApi,
  allow,
  type ControllerRegistration,
  done,
  isAllowed,
  type RouteRequest,
  type RouteResponse,
  watchFor,
} from '@slipway/runtime';
import { valueAt } from '../../hyperconverged/spec-paths.ts';
import { SSP_NAME, SspKind } from '../../kinds.ts';
import { accessObjects, standingOf, tokenSeconds } from './access-objects.ts';

const VNC = { group: 'subresources.kubevirt.io', resource: 'virtualmachineinstances', subresource: 'vnc' } as const;
const MAX_ATTEMPTS = 5;

/** Tokens that open the screen of one VM, for who has no account of the cluster. */
export interface VmConsoleProxy {
  readonly api: AggregatedApi;
  /** Switches the API on and off as the SSP object says, and has the rights of it. */
  readonly registration: ControllerRegistration;
}

/** `token.kubevirt.io`, there while `spec.tokenGenerationService.enabled` of the SSP object is true. */
export function vmConsoleProxy(): VmConsoleProxy {
  const listeners: (() => void)[] = [];
  let own: Client | undefined;
  let isEnabled = false;
  const route = {
    resource: 'virtualmachines',
    namespaced: true,
    subresource: 'vnc',
    discoverable: true,
    methods: {
      GET: (request: RouteRequest): Promise<RouteResponse> => {
        if (own === undefined) throw new Error('The API is off'); // and nobody is sent here
        return giveToken(own, request);
      },
    },
  };
  return {
    api: {
      group: 'token.kubevirt.io',
      versions: ['v1', 'v1alpha1'],
      routes: [route],
      presence: { isServed: () => isEnabled && own !== undefined, onChange: (listener) => void listeners.push(listener) },
    },
    registration: {
      name: 'vm-console-proxy',
      rules: [
        ...accessReviewRules,
        ...allow('get', VirtualMachineKind),
        ...allow('get create delete', ServiceAccountKind, RoleKind, RoleBindingKind),
        ...allow('create', [ServiceAccountKind, 'token']),
        // nobody can give what they do not have
        { apiGroups: [VNC.group], resources: [`${VNC.resource}/${VNC.subresource}`], verbs: ['get'] },
      ],
      create({ client, informers, settings }) {
        own = client;
        const ssps = informers.lister(SspKind);
        const key: ObjectKey = { namespace: settings.installNamespace, name: SSP_NAME };
        return {
          concurrency: 1,
          watches: [watchFor(SspKind, key)],
          reconciler: {
            async reconcile() {
              const wanted = valueAt(ssps.get(key)?.spec, 'tokenGenerationService.enabled') === true;
              if (wanted === isEnabled) return done;
              isEnabled = wanted;
              for (const listener of listeners) listener();
              return done;
            },
          },
        };
      },
    },
  };
}

async function giveToken(client: Client, request: RouteRequest): Promise<RouteResponse> {
  const { namespace, name, user, signal } = request;
  const seconds = tokenSeconds(request.query.get('duration'));
  if (!(await isAllowed(client, user, { verb: 'get', ...VNC, namespace, name }, signal))) throw mayNotOpen(request);
  const vm = await client.get(VirtualMachineKind, { namespace, name }, { signal }).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
    throw new StatusError({ code: 404, reason: 'NotFound', message: `VirtualMachine does not exist: ${messageOf(error)}` });
  });
  const account = await ensureAccess(client, vm, signal);
  const { body } = await client.raw({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: seconds } },
    signal,
  });
  const { token, expirationTimestamp } = isObject(body) && isObject(body['status']) ? body['status'] : {};
  if (typeof token !== 'string') throw noToken(body);
  return { status: 200, body: { token, expirationTimestamp } };
}

/** A time too long for a token, or an account that has just been removed. */
function noToken(body: unknown): StatusError {
  const message = isObject(body) && typeof body['message'] === 'string' ? body['message'] : 'no answer';
  const code = isObject(body) && typeof body['code'] === 'number' ? body['code'] : 500;
  const reason = isObject(body) && typeof body['reason'] === 'string' ? body['reason'] : 'InternalError';
  return new StatusError({ code, reason, message: `failed to request token: ${message}` });
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

// KubeVirt-compat: 401, though it is known who asks
const mayNotOpen = ({ user, namespace, name }: RouteRequest): StatusError =>
  new StatusError({
    code: 401,
    reason: 'Unauthorized',
    message: `User "${user.username}" cannot get resource "virtualmachineinstances/vnc" in API group "${VNC.group}" of "${name}" in the namespace "${namespace}", and gets no token for it`,
  });

/** Makes what the token needs. Answers the name of the service account. */
async function ensureAccess(client: Client, vm: VirtualMachine, signal: AbortSignal): Promise<string> {
  const { account, role, binding } = accessObjects(vm);
  await ensure(client, ServiceAccountKind, account, signal);
  await ensure(client, RoleKind, role, signal);
  await ensure(client, RoleBindingKind, binding, signal);
  return account.metadata.name ?? '';
}

async function ensure<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  wanted: T,
  signal: AbortSignal,
): Promise<void> {
  const key = keyOf(wanted);
  for (let attempt = 1; ; attempt++) {
    const current = await client.get(kind, key, { signal }).catch(unlessGone);
    const standing = standingOf(wanted, current);
    if (standing === 'kept') return;
    if (standing === 'foreign') throw foreign(wanted);
    try {
      if (current?.metadata.uid) await client.delete(kind, key, { preconditions: { uid: current.metadata.uid }, signal });
      await client.create(kind, wanted, { signal });
      return;
    } catch (error) {
      // somebody else asks for the same token
      const isRace = isAlreadyExists(error) || isConflict(error) || isNotFound(error);
      if (!isRace || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

function unlessGone(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

const foreign = ({ kind, metadata }: KubeObject): StatusError =>
  new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `${kind} "${metadata.name}" was not made for tokens: it must go before the machine can have one`,
  });
