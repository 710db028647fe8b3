import { PersistentVolumeClaimKind } from '@slipway/api';
import { badRequest, isNotFound, isObject, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AggregatedApi, RouteRequest, RouteResponse } from '@slipway/runtime';
import type { UploadTokens } from './upload-token.ts';

export interface UploadTokenDeps {
  readonly client: Client;
  readonly tokens: () => Promise<UploadTokens>;
  readonly now: () => Date;
  readonly randomName: () => string;
}

const GROUP = 'upload.cdi.kubevirt.io';
const KIND = 'UploadTokenRequest';

/** `upload.cdi.kubevirt.io`: whoever may create an UploadTokenRequest gets one back with a token for its claim. */
export const uploadTokenApi = (deps: UploadTokenDeps): AggregatedApi => ({
  group: GROUP,
  versions: ['v1beta1'],
  routes: [
    {
      resource: 'uploadtokenrequests',
      namespaced: true,
      subresource: '',
      methods: { POST: (request) => createToken(deps, request) },
      discoverable: true,
      listing: { kind: KIND, singularName: 'uploadtokenrequest', shortNames: ['utr', 'utrs'] },
    },
  ],
});

async function createToken(deps: UploadTokenDeps, request: RouteRequest): Promise<RouteResponse> {
  const { name, generateName, rest } = metadataOf(request);
  const spec = isObject(request.body) ? request.body['spec'] : undefined;
  const pvcName = isObject(spec) ? spec['pvcName'] : undefined;
  if (typeof pvcName !== 'string' || pvcName === '')
    throw new StatusError({
      code: 422,
      reason: 'Invalid',
      message: `${KIND}.${GROUP} "${name ?? ''}" is invalid: spec.pvcName: Required value: name the claim to upload to`,
      details: {
        group: GROUP,
        kind: KIND,
        causes: [{ reason: 'FieldValueRequired', message: 'Required value', field: 'spec.pvcName' }],
      },
    });
  const { namespace } = request;
  const uid = await claimUid(deps.client, { namespace, name: pvcName }, request.signal);
  const token = (await deps.tokens()).issue({ namespace, name: pvcName, ...(uid !== undefined && { uid }) });
  const metadata = {
    ...rest,
    name: name ?? `${generateName}${deps.randomName()}`,
    ...(generateName !== undefined && { generateName }),
    namespace,
    creationTimestamp: `${deps.now().toISOString().slice(0, 19)}Z`,
  };
  return { status: 201, body: { kind: KIND, apiVersion: `${GROUP}/v1beta1`, metadata, spec: { pvcName }, status: { token } } };
}

function metadataOf({ body, namespace }: RouteRequest): {
  readonly name?: string;
  readonly generateName?: string;
  readonly rest: object;
} {
  if (!isObject(body) || (body['kind'] !== undefined && body['kind'] !== KIND)) throw badRequest(`the body is no ${KIND}`);
  const metadata = isObject(body['metadata']) ? body['metadata'] : {};
  const { name, generateName, namespace: own, creationTimestamp: _, ...rest } = metadata;
  if (own !== undefined && own !== '' && own !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  const isNamed = typeof name === 'string' && name !== '';
  const isGenerated = typeof generateName === 'string' && generateName !== '';
  if (!isNamed && !isGenerated) throw badRequest('name or generateName is required');
  return { ...(isNamed && { name }), ...(isGenerated && { generateName }), rest };
}

/** The token is for this claim; one that is made later under the same name is another. */
async function claimUid(
  client: Client,
  key: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return (await client.get(PersistentVolumeClaimKind, key, { signal })).metadata.uid;
  } catch (error) {
    if (isNotFound(error)) return undefined; // KubeVirt-compat: it may come later; the proxy looks again
    throw error;
  }
}
