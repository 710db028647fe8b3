import type { Client } from '@slipway/client';
import type { UserInfo } from '@slipway/runtime';

/**
 * Asks whether somebody may clone a claim of another namespace: who may create pods there can read its claims anyway,
 * everyone else needs `create` on `datavolumes/source`.
 */
export async function mayClone(
  client: Client,
  user: UserInfo,
  source: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<boolean> {
  const questions = [
    { group: 'cdi.kubevirt.io', resource: 'datavolumes', subresource: 'source' },
    { group: '', resource: 'pods' },
  ];
  for (const question of questions) {
    const resourceAttributes = { ...source, ...question, verb: 'create' };
    const { body } = await client.raw({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { user: user.username, groups: user.groups, ...(user.extra && { extra: user.extra }), resourceAttributes },
      },
      signal,
    });
    if (isAllowed(body)) return true;
  }
  return false;
}

function isAllowed(body: unknown): boolean {
  const review = body as { status?: { allowed?: unknown } } | null; // checked by the comparison
  return review?.status?.allowed === true;
}
