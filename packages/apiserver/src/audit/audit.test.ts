import { describe, expect, it } from 'vitest';
import { requestInfo } from '../routing/request-info.ts';
import { changesAt, compileAuditPolicy } from './audit-policy.ts';
import { requestObject } from './request-object.ts';

const ann = { username: 'ann', groups: ['dev', 'system:authenticated'] };
const info = (method: string, path: string) => requestInfo(method, path, new URLSearchParams());
const policyOf = (...rules: object[]) => compileAuditPolicy({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules });

describe('an audit policy', () => {
  it.each<[string, object, string, string, boolean]>([
    ['everything', {}, 'GET', '/api/v1/pods', true],
    ['a user', { users: ['ann'] }, 'GET', '/api/v1/pods', true],
    ['another user', { users: ['bob'] }, 'GET', '/api/v1/pods', false],
    ['a group', { userGroups: ['dev'] }, 'GET', '/api/v1/pods', true],
    ['a verb', { verbs: ['delete'] }, 'DELETE', '/api/v1/namespaces/a/pods/p', true],
    ['another verb', { verbs: ['delete'] }, 'GET', '/api/v1/namespaces/a/pods/p', false],
    ['a namespace', { namespaces: ['a'] }, 'GET', '/api/v1/namespaces/a/pods', true],
    ['another namespace', { namespaces: ['b'] }, 'GET', '/api/v1/namespaces/a/pods', false],
    ['a resource', { resources: [{ group: '', resources: ['pods'] }] }, 'GET', '/api/v1/pods', true],
    [
      'a resource, but not its parts',
      { resources: [{ group: '', resources: ['pods'] }] },
      'GET',
      '/api/v1/namespaces/a/pods/p/log',
      false,
    ],
    ['one part', { resources: [{ group: '', resources: ['pods/log'] }] }, 'GET', '/api/v1/namespaces/a/pods/p/log', true],
    ['all parts', { resources: [{ group: '', resources: ['pods/*'] }] }, 'GET', '/api/v1/namespaces/a/pods/p/log', true],
    ['a group of resources', { resources: [{ group: 'apps' }] }, 'GET', '/apis/apps/v1/deployments', true],
    [
      'names',
      { resources: [{ group: '', resources: ['pods'], resourceNames: ['q'] }] },
      'GET',
      '/api/v1/namespaces/a/pods/p',
      false,
    ],
    ['a path', { nonResourceURLs: ['/healthz*'] }, 'GET', '/healthz/ping', true],
    ['paths alone', { nonResourceURLs: ['*'] }, 'GET', '/api/v1/pods', false],
  ])('matches %s', (_what, rule, method, path, wanted) => {
    expect(policyOf({ level: 'Metadata', ...rule })(ann, info(method, path), 200)).toBe(wanted ? 'Metadata' : 'None');
  });

  it('goes by its first rule that matches', () => {
    const policy = policyOf({ level: 'None', verbs: ['get'] }, { level: 'Request' });
    expect(policy(ann, info('GET', '/api/v1/namespaces/a/pods/p'), 200)).toBe('None');
    expect(policy(ann, info('PUT', '/api/v1/namespaces/a/pods/p'), 200)).toBe('Request');
  });

  it.each<[object, RegExp]>([
    [{ level: 'RequestResponse' }, /answers are not recorded/],
    [{ level: 'Metadata', verb: ['get'] }, /verb: is not known/],
    [{ level: 'Metadata', users: 'ann' }, /list of texts/],
  ])('is refused with the rule %j', (rule, reason) => {
    expect(() => policyOf(rule)).toThrow(reason);
  });

  it('without a file keeps changes and refusals', () => {
    const policy = changesAt('Metadata');
    expect(policy(ann, info('GET', '/api/v1/pods'), 200)).toBe('None');
    expect(policy(ann, info('GET', '/api/v1/pods'), 403)).toBe('Metadata');
    expect(policy(ann, info('POST', '/api/v1/namespaces/a/pods'), 201)).toBe('Metadata');
  });
});

describe('what of a body is recorded', () => {
  const of = (path: string, value: unknown): unknown => requestObject({ type: 'value', value }, info('POST', path));
  const vms = '/apis/kubevirt.io/v1/namespaces/a/virtualmachines';

  it.each([
    '/api/v1/namespaces/a/secrets',
    '/api/v1/namespaces/a/secrets/s',
    '/api/v1/namespaces/a/configmaps',
    '/api/v1/namespaces/a/serviceaccounts/s/token',
    '/apis/authentication.k8s.io/v1/tokenreviews',
    '/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/a/uploadtokenrequests',
  ])('is nothing for %s', (path) => {
    expect(of(path, { data: { secret: 'hidden' } })).toBeUndefined();
  });

  it('is everything but secrets, wherever they are', () => {
    const volume = { name: 'init', cloudInitNoCloud: { userData: 'hidden', networkData: 'hidden' } };
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': 'hidden', mine: 'shown' };
    const inner = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'hidden' }, stringData: { a: 'hidden' } };
    const text = JSON.stringify(
      of(vms, { kind: 'VirtualMachine', metadata: { annotations }, spec: { volumes: [volume] }, items: [inner] }),
    );
    expect(text).not.toContain('hidden');
    expect(text).toContain('shown');
    expect(text).toContain('"name":"init"');
  });

  it('leaves values out of patches of secret parts', () => {
    const patch = [
      { op: 'replace', path: '/spec/volumes/0/cloudInitNoCloud/userData', value: 'hidden' },
      { op: 'add', path: '/spec/volumes/1', value: { cloudInitNoCloud: { userData: 'hidden' } } },
      { op: 'add', path: '/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration', value: 'hidden' },
      { op: 'replace', path: '/spec/runStrategy', value: 'Always' },
    ];
    const text = JSON.stringify(of(`${vms}/vm`, patch));
    expect(text).not.toContain('hidden');
    expect(text).toContain('Always');
  });

  it('is bounded, and only what could be looked into', () => {
    const bytes = (text: string) => ({ type: 'bytes', bytes: Buffer.from(text) }) as const;
    expect(requestObject(bytes('userData: hidden'), info('POST', vms))).toBeUndefined();
    expect(requestObject(bytes('{"a":1}'), info('POST', vms))).toEqual({ a: 1 });
    expect(of(vms, { text: 'x'.repeat(100_000) })).toMatch(/longer/);
  });
});
