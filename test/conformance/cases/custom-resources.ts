import { type Case, absent } from '../replayer/case.ts';

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const BOATS = '/apis/{ns}.example.com/v1/namespaces/{ns}/boats';

const schema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      required: ['length'],
      'x-kubernetes-validations': [{ rule: 'self.length <= self.berth', message: 'the boat does not fit' }],
      properties: {
        length: { type: 'integer', minimum: 1 },
        berth: { type: 'integer', default: 10 },
        name: {
          type: 'string',
          maxLength: 5,
          'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'is painted on' }],
        },
      },
    },
    status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  },
};
const definition = {
  metadata: { name: 'boats.{ns}.example.com' },
  spec: {
    group: '{ns}.example.com',
    scope: 'Namespaced',
    names: { plural: 'boats', kind: 'Boat' },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema }, subresources: { status: {} } }],
  },
};
const boat = (name: string, spec: object) => ({
  apiVersion: '{ns}.example.com/v1',
  kind: 'Boat',
  metadata: { name },
  spec,
  status: { sunk: true },
});
const install = [
  { request: `POST ${CRDS}`, body: definition, expect: { status: 201 } },
  { request: `GET ${BOATS}`, eventually: true, expect: { status: 200 } },
] as const;

export const customResourceCases: readonly Case[] = [
  {
    name: 'defaults, pruning and the status apart',
    steps: [
      ...install,
      {
        request: `POST ${BOATS}?fieldValidation=Ignore`,
        body: boat('a', { length: 3, sails: 2 }),
        expect: {
          status: 201,
          body: { metadata: { generation: 1 }, spec: { length: 3, berth: 10, sails: absent }, status: absent },
        },
      },
      {
        request: `PATCH ${BOATS}/a/status`,
        type: 'application/merge-patch+json',
        body: { status: { sunk: false }, spec: { length: 4 } },
        expect: { status: 200, body: { metadata: { generation: 1 }, spec: { length: 3 }, status: { sunk: false } } },
      },
    ],
  },
  {
    name: 'schemas and rules refuse, transition rules from the second write on',
    steps: [
      ...install,
      { request: `POST ${BOATS}`, body: boat('b', { length: 0 }), expect: { status: 422, text: 'greater than or equal to 1' } },
      { request: `POST ${BOATS}`, body: boat('b', { length: 11 }), expect: { status: 422, text: 'the boat does not fit' } },
      { request: `POST ${BOATS}`, body: boat('b', { length: 2, name: 'Anna' }), expect: { status: 201 } },
      {
        request: `PATCH ${BOATS}/b`,
        type: 'application/merge-patch+json',
        body: { spec: { name: 'Berta' } },
        expect: { status: 422, body: { details: { causes: [{ field: 'spec.name' }] } }, text: 'is painted on' },
      },
    ],
  },
  {
    name: 'the definition takes its objects with it',
    steps: [
      ...install,
      { request: `POST ${BOATS}`, body: boat('c', { length: 1 }), expect: { status: 201 } },
      { request: `DELETE ${CRDS}/boats.{ns}.example.com`, expect: { status: 200 } },
      { request: `GET ${CRDS}/boats.{ns}.example.com`, eventually: true, expect: { status: 404 } },
      { request: `GET ${BOATS}`, eventually: true, expect: { status: 404 } },
    ],
  },
];
