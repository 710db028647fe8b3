import { expect, it } from 'vitest';
import { verdictOf } from './review.ts';
import type { Webhook } from './webhook-config.ts';

const webhook: Webhook = {
  ...{ name: 'check.example.com', configuration: 'c', clientConfig: {}, rules: [], failurePolicy: 'Fail' },
  ...{ matchPolicy: 'Equivalent', namespaceSelector: [], objectSelector: [], sideEffects: 'None', timeoutSeconds: 10 },
  ...{ reinvocationPolicy: 'Never', matchConditions: [], reviewVersion: 'v1' },
};
const answer = (response: object): object => ({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response });

it('reads a verdict, with annotations for the audit log under the name of the webhook', () => {
  const response = { uid: 'u', allowed: true, warnings: ['w', 1], auditAnnotations: { why: 'because', odd: 1 } };
  expect(verdictOf(answer(response), webhook, 'u')).toEqual({
    ...{ allowed: true, status: undefined, warnings: ['w'], patch: undefined },
    auditAnnotations: { 'check.example.com/why': 'because' },
  });
});

it.each([
  [{}, 'webhook response was absent'],
  [answer({ uid: 'other' }), 'expected response.uid="u", got "other"'],
  [answer({ uid: 'u', patch: 'e30=' }), 'webhook returned invalid response.patchType'],
  [answer({ uid: 'u', patch: 'ew==', patchType: 'JSONPatch' }), 'the patch is not JSON'],
  [{ ...answer({ uid: 'u' }), apiVersion: 'admission.k8s.io/v1beta1' }, 'expected webhook response of admission.k8s.io/v1'],
])('refuses %j', (given, why) => {
  expect(() => verdictOf(given, webhook, 'u')).toThrow(why);
});
