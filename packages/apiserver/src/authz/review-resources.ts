import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { simpleDefinition } from '../registry/simple-definition.ts';

const review = (group: string, kind: string, plural: string, namespaced = false): ResourceDefinition =>
  simpleDefinition({ group, version: 'v1', kind, plural, namespaced }, { verbs: ['create'], subresources: {}, virtual: true });

/** Resources that are answered, never stored. */
export function reviewResources(): ResourceDefinition[] {
  const authorization = 'authorization.k8s.io';
  return [
    review('', 'Binding', 'bindings', true),
    review(authorization, 'SelfSubjectAccessReview', 'selfsubjectaccessreviews'),
    review(authorization, 'SelfSubjectRulesReview', 'selfsubjectrulesreviews'),
    review(authorization, 'SubjectAccessReview', 'subjectaccessreviews'),
    review(authorization, 'LocalSubjectAccessReview', 'localsubjectaccessreviews', true),
    review('authentication.k8s.io', 'TokenReview', 'tokenreviews'),
    review('authentication.k8s.io', 'SelfSubjectReview', 'selfsubjectreviews'),
  ];
}
