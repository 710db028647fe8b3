import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Application } from '../kinds.ts';
import { isConcerned, isSigned, pushOf } from './webhook.ts';

const body = (payload: object): Buffer => Buffer.from(JSON.stringify(payload));
const github = {
  ref: 'refs/heads/main',
  repository: { clone_url: 'https://git.example/team/a.git', ssh_url: 'git@git.example:team/a.git', default_branch: 'main' },
};
const gitlab = { ref: 'refs/tags/v1.2.0', project: { git_http_url: 'https://git.example/team/a.git', default_branch: 'main' } };
const app = (repoURL: string, targetRevision?: string): Application => ({
  apiVersion: 'argoproj.io/v1alpha1',
  kind: 'Application',
  metadata: { name: 'a' },
  spec: { destination: {}, source: { repoURL, ...(targetRevision !== undefined && { targetRevision }) } },
});

describe('pushes', () => {
  it('of GitHub and GitLab are understood, anything else is not', () => {
    expect(pushOf(body(github))).toMatchObject({ revision: 'main', isDefaultBranch: true });
    expect(pushOf(body(gitlab))).toMatchObject({ revision: 'v1.2.0', isDefaultBranch: false });
    expect(pushOf(body({ zen: 'x' }))).toBeUndefined();
    expect(pushOf(Buffer.from('{'))).toBeUndefined();
  });

  it.each([
    ['https://git.example/team/a', undefined, true, false],
    ['https://user@git.example/team/a.git/', 'HEAD', true, false],
    ['git@git.example:team/a.git', 'main', true, false],
    ['ssh://git@git.example:2222/team/a.git', 'refs/heads/main', true, false],
    ['https://git.example/team/a', 'other', false, false],
    ['https://git.example/team/a', '1.x', true, true],
    ['https://git.example/team/ab', 'main', false, false],
    ['https://git.example.org/team/a', 'main', false, false],
  ])('%s at %s', (url, revision, byBranch, byTag) => {
    const pushes = [github, gitlab].map((payload) => pushOf(body(payload)));
    expect(pushes.map((push) => push !== undefined && isConcerned(app(url, revision), push))).toEqual([byBranch, byTag]);
  });
});

describe('senders', () => {
  const sent = body(github);
  const data = {
    'webhook.github.secret': Buffer.from('s3').toString('base64'),
    'webhook.gitlab.secret': Buffer.from('t0').toString('base64'),
  };
  const signature = (secret: string): string => `sha256=${createHmac('sha256', secret).update(sent).digest('hex')}`;

  it.each([
    ['a right signature', { 'x-hub-signature-256': signature('s3') }, data, true],
    ['a wrong one', { 'x-hub-signature-256': signature('s4') }, data, false],
    ['a right token', { 'x-gitlab-token': 't0' }, data, true],
    ['a wrong token', { 'x-gitlab-token': '' }, data, false],
    ['none', {}, data, false],
    ['any, where there is no secret', { 'x-hub-signature-256': signature('') }, {}, false],
    ['any, where the secret is empty', { 'x-gitlab-token': '' }, { 'webhook.gitlab.secret': '' }, false],
  ])('with %s', (_what, headers, secrets, isBelieved) => {
    expect(isSigned(headers, sent, secrets)).toBe(isBelieved);
  });
});
