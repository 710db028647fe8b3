import { type Case, absent } from '../replayer/case.ts';

const MAPS = '/api/v1/namespaces/{ns}/configmaps';
const labelled = (name: string, team: string) => ({ metadata: { name, labels: { team } } });

export const readCases: readonly Case[] = [
  {
    name: 'pages continue where they stopped, on the state of the first',
    steps: [
      ...['p1', 'p2', 'p3'].map((name) => ({
        request: `POST ${MAPS}` as const,
        body: labelled(name, 'pages'),
        expect: { status: 201 },
      })),
      {
        request: `GET ${MAPS}?labelSelector=team%3Dpages&limit=2`,
        capture: { token: 'metadata.continue', version: 'metadata.resourceVersion' },
        expect: { status: 200, body: { items: [{ metadata: { name: 'p1' } }, { metadata: { name: 'p2' } }] } },
      },
      { request: `POST ${MAPS}`, body: labelled('p4', 'pages'), expect: { status: 201 } },
      {
        request: `GET ${MAPS}?labelSelector=team%3Dpages&limit=2&continue={token}`,
        expect: {
          status: 200,
          body: { metadata: { continue: absent, resourceVersion: '{version}' }, items: [{ metadata: { name: 'p3' } }] },
        },
      },
    ],
  },
  {
    name: 'selectors that cannot be read are refused',
    steps: [
      { request: `GET ${MAPS}?labelSelector=a%20in%20b`, expect: { status: 400, body: { reason: 'BadRequest' } } },
      { request: `GET ${MAPS}?fieldSelector=data.x%3D1`, expect: { status: 400, text: 'field' } },
      { request: `GET ${MAPS}?fieldSelector=metadata.name%3Dnone`, expect: { status: 200, body: { items: [] } } },
    ],
  },
  {
    name: 'a watch from a version tells what happened since, and what left the selection',
    steps: [
      {
        request: `POST ${MAPS}`,
        body: labelled('seen', 'watched'),
        capture: { version: 'metadata.resourceVersion' },
        expect: { status: 201 },
      },
      {
        request: `PATCH ${MAPS}/seen`,
        type: 'application/merge-patch+json',
        body: { metadata: { labels: { team: 'gone' } } },
        expect: { status: 200 },
      },
      {
        request: `GET ${MAPS}?watch=1&timeoutSeconds=1&labelSelector=team%3Dwatched&resourceVersion={version}`,
        expect: { status: 200, text: '{"type":"DELETED"' },
      },
      {
        request: `GET ${MAPS}?watch=1&timeoutSeconds=1`,
        accept: 'application/yaml',
        expect: { status: 406, text: 'application/json;stream=watch' },
      },
    ],
  },
  {
    name: 'tables and metadata alone on request',
    steps: [
      { request: `POST ${MAPS}`, body: { metadata: { name: 'shown' }, data: { a: '1' } }, expect: { status: 201 } },
      {
        request: `GET ${MAPS}/shown`,
        accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
        expect: { status: 200, body: { kind: 'Table', rows: [{ object: { kind: 'PartialObjectMetadata' } }] } },
      },
      {
        request: `GET ${MAPS}/shown`,
        accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
        expect: { status: 200, body: { kind: 'PartialObjectMetadata', data: absent, metadata: { name: 'shown' } } },
      },
    ],
  },
  {
    name: 'discovery names groups, resources and their APIServices',
    steps: [
      { request: 'GET /apis/apps/v1', expect: { status: 200, body: { groupVersion: 'apps/v1' } } },
      { request: 'GET /apis/none.example.com', expect: { status: 404, text: '404 page not found' } },
      {
        request: 'GET /apis/apiregistration.k8s.io/v1/apiservices/v1.apps',
        expect: { status: 200, body: { status: { conditions: [{ type: 'Available', status: 'True', reason: 'Local' }] } } },
      },
    ],
  },
];
