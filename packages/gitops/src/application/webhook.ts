import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Readable } from 'node:stream';
import { ignoreNotFound, isObject } from '@slipway/apimachinery';
import { SecretKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { OpenRequest, OpenResponse, OpenRoute } from '@slipway/runtime';
import { Annotation, type Application, ApplicationKind, GITOPS_NAMESPACES, sourcesOf } from '../kinds.ts';

export const WEBHOOK_PATH = '/api/webhook';

const SECRET = 'argocd-secret';
const MAX_BODY = 4 * 1024 * 1024;

/** What a push has changed: repositories by any of their URLs, and the branch or tag. */
export interface Push {
  readonly urls: readonly string[];
  /** Without `refs/heads/` and `refs/tags/`. */
  readonly revision: string;
  readonly isDefaultBranch: boolean;
}

/**
 * Where git servers tell of pushes: `POST /api/webhook` of GitHub, GitLab, Gitea and Gogs. Only senders that know the
 * secret of Secret `argocd-secret` are heard, each in the namespace of that Secret.
 */
export function webhookRoute(client: () => Client | undefined): OpenRoute {
  return {
    prefix: WEBHOOK_PATH,
    async handle(request) {
      if (request.path !== WEBHOOK_PATH) return answer(404, 'not found');
      if (request.method !== 'POST') return answer(405, 'only POST');
      const connected = client();
      if (connected === undefined) return answer(503, 'not started yet');
      const body = await bodyOf(request.incoming);
      if (body === undefined) return answer(413, 'payload too large');
      const namespaces = await namespacesOf(connected, request, body);
      if (namespaces.length === 0) return answer(401, 'the secret of the webhook is missing or wrong');
      const push = pushOf(body);
      if (push === undefined) return answer(400, 'no push of a known form');
      let count = 0;
      for (const namespace of namespaces) count += await refreshAll(connected, namespace, push, request.signal);
      return answer(200, `${count} applications are refreshed`);
    },
  };
}

const answer = (status: number, text: string): OpenResponse => ({
  status,
  headers: { 'content-type': 'text/plain; charset=utf-8' },
  body: `${text}\n`,
});

async function bodyOf(incoming: Readable): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming) {
    // without an encoding a stream gives bytes
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size > MAX_BODY) return undefined;
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

async function namespacesOf(client: Client, request: OpenRequest, body: Buffer): Promise<string[]> {
  const found: string[] = [];
  for (const namespace of GITOPS_NAMESPACES) {
    const secret = await client.get(SecretKind, { namespace, name: SECRET }, { signal: request.signal }).catch(ignoreNotFound);
    if (secret !== undefined && isSigned(request.headers, body, secret.data ?? {})) found.push(namespace);
  }
  return found;
}

/** Pure: whether the sender knows one of the secrets of `argocd-secret`. */
export function isSigned(headers: OpenRequest['headers'], body: Buffer, data: Readonly<Record<string, string>>): boolean {
  const secretOf = (name: string): Buffer | undefined => {
    const text = data[`webhook.${name}.secret`];
    return text ? Buffer.from(text, 'base64') : undefined;
  };
  const digest = (secret: Buffer): string => createHmac('sha256', secret).update(body).digest('hex');
  const same = (given: string | undefined, wanted: string): boolean => {
    const [a, b] = [Buffer.from(given ?? ''), Buffer.from(wanted)];
    return a.length === b.length && timingSafeEqual(a, b);
  };
  const [github, gitlab, gogs] = [secretOf('github'), secretOf('gitlab'), secretOf('gogs')];
  return (
    (github !== undefined && same(headers['x-hub-signature-256'], `sha256=${digest(github)}`)) ||
    (gitlab !== undefined && same(headers['x-gitlab-token'], gitlab.toString('utf8'))) ||
    (gogs !== undefined && same(headers['x-gogs-signature'] ?? headers['x-gitea-signature'], digest(gogs)))
  );
}

/** Pure: the push that a payload tells of. */
export function pushOf(body: Buffer): Push | undefined {
  let payload: unknown;
  try {
    payload = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isObject(payload) || typeof payload['ref'] !== 'string') return undefined;
  const places = [payload['repository'], payload['project']].filter(isObject);
  const names = ['clone_url', 'ssh_url', 'html_url', 'git_url', 'git_http_url', 'git_ssh_url', 'web_url', 'url', 'homepage'];
  const urls = places
    .flatMap((place) => names.map((name) => place[name]))
    .filter((url): url is string => typeof url === 'string');
  if (urls.length === 0) return undefined;
  const revision = payload['ref'].replace(/^refs\/(?:heads|tags)\//, '');
  const branch = places.map((place) => place['default_branch']).find((name) => typeof name === 'string');
  return { urls, revision, isDefaultBranch: branch === undefined || branch === revision };
}

/** Pure: whether a source may look different after the push. Versions and ranges may mean a new tag. */
export function isConcerned(app: Application, { urls, revision, isDefaultBranch }: Push): boolean {
  const pushed = new Set(urls.map(bare));
  return sourcesOf(app.spec).some(({ repoURL, targetRevision = 'HEAD' }) => {
    if (!pushed.has(bare(repoURL))) return false;
    const wanted = targetRevision.replace(/^refs\/(?:heads|tags)\//, '') || 'HEAD';
    return wanted === 'HEAD' ? isDefaultBranch : wanted === revision || /[*^~<>=|x]|^v?\d/.test(wanted);
  });
}

/** Host and path alone: one repository has URLs of several schemes. */
const bare = (url: string): string =>
  url
    .replace(/^[a-z+]+:\/\//i, '')
    .replace(/^[^@/]*@/, '')
    .replace(/^([^/:]+):(?:\d+\/)?/, '$1/')
    .replace(/(?:\.git)?\/*$/, '')
    .replaceAll('//', '/')
    .toLowerCase();

async function refreshAll(client: Client, namespace: string, push: Push, signal: AbortSignal): Promise<number> {
  const { items } = await client.list(ApplicationKind, { namespace, signal });
  const concerned = items.filter((app) => isConcerned(app, push));
  for (const { metadata } of concerned) {
    const patch = { metadata: { annotations: { [Annotation.refresh]: 'normal' } } };
    await client
      .patch(ApplicationKind, { namespace, name: metadata.name ?? '' }, patch, { type: 'merge', signal })
      .catch(ignoreNotFound);
  }
  return concerned.length;
}
