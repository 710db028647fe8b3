import type { Case } from '../replayer/case.ts';

const CONFIGS = '/apis/admissionregistration.k8s.io/v1';
const SECRETS = '/api/v1/namespaces/{ns}/secrets';

/** A webhook that the test's own server answers at `path`. */
const webhook = (path: string, rule: object, rest: object = {}) => ({
  metadata: { name: `{ns}-${path}` },
  webhooks: [
    {
      name: `${path}.example.com`,
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      clientConfig: { url: `https://127.0.0.1:{hookPort}/${path}`, caBundle: '{hookCa}' },
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': '{ns}' } },
      rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['secrets'], operations: ['CREATE'], ...rule }],
      ...rest,
    },
  ],
});

export const webhookCases: readonly Case[] = [
  {
    name: 'what a webhook adds is stored, and its warning told',
    steps: [
      { request: `POST ${CONFIGS}/mutatingwebhookconfigurations`, body: webhook('label', {}), expect: { status: 201 } },
      {
        request: `POST ${SECRETS}`,
        body: { metadata: { name: 'a' } },
        expect: { status: 201, body: { metadata: { labels: { added: 'yes' } } }, warning: 'labelled for you' },
      },
    ],
  },
  {
    name: 'a webhook refuses a deletion, whichever kind of configuration names it',
    steps: [
      { request: `POST ${SECRETS}`, body: { metadata: { name: 'kept' } }, expect: { status: 201 } },
      {
        request: `POST ${CONFIGS}/mutatingwebhookconfigurations`,
        body: webhook('refuse', { operations: ['DELETE'] }),
        expect: { status: 201 },
      },
      {
        request: `DELETE ${SECRETS}/kept`,
        expect: { status: 418, text: 'admission webhook "refuse.example.com" denied the request: it is a teapot' },
      },
      { request: `DELETE ${CONFIGS}/mutatingwebhookconfigurations/{ns}-refuse`, expect: { status: 200 } },
      { request: `DELETE ${SECRETS}/kept`, expect: { status: 200 } },
    ],
  },
  {
    name: 'a webhook that does not answer in time has failed',
    steps: [
      {
        request: `POST ${CONFIGS}/validatingwebhookconfigurations`,
        body: webhook('silent', {}, { timeoutSeconds: 1 }),
        expect: { status: 201 },
      },
      {
        request: `POST ${SECRETS}`,
        body: { metadata: { name: 'b' } },
        expect: { status: 500, text: 'context deadline exceeded' },
      },
    ],
  },
];
