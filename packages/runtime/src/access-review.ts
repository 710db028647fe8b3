import type { Client } from '@slipway/client';
import type { UserInfo } from './admission.ts';
import type { PolicyRule } from './policy-rule.ts';

/** Asking whether somebody else may do something. */
export const accessReviewRules: readonly PolicyRule[] = [
  { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
];

/** What is asked for, as `resourceAttributes` of a SubjectAccessReview. */
export interface AccessQuestion {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace: string;
  readonly name: string;
}

/** Whether the API server lets this user do it. Needs `accessReviewRules`. */
export async function isAllowed(
  client: Client,
  user: UserInfo,
  question: AccessQuestion,
  signal?: AbortSignal,
): Promise<boolean> {
  const { body } = await client.raw({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: user.username,
        groups: user.groups,
        ...(user.extra && { extra: user.extra }),
        resourceAttributes: question,
      },
    },
    ...(signal && { signal }),
  });
  const review = body as { status?: { allowed?: unknown } } | null; // checked by the comparison
  return review?.status?.allowed === true;
}

/** A service account as the API server knows it, without any group of its own. */
export const serviceAccountUser = (namespace: string, name: string): UserInfo => ({
  username: `system:serviceaccount:${namespace}:${name}`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
});
