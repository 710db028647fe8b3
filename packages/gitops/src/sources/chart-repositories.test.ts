import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  chartPackage,
  createAuthority,
  type ImageServer,
  issueCertificate,
  sha256Of,
  startImageServer,
  tgz,
} from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { chartRepositories } from './chart-repositories.ts';
import type { Credentials } from './credentials.ts';

vi.setConfig({ testTimeout: 60_000 });

const signal = new AbortController().signal;
const LOOPBACK = { addresses: ['127.0.0.0/8'] };
const CHART_LAYER = 'application/vnd.cncf.helm.chart.content.v1.tar+gzip';

let cacheDir: string;
let server: ImageServer;

beforeEach(async () => {
  cacheDir = mkdtempSync(join(tmpdir(), 'slipway-charts-'));
  server = await startImageServer();
});
afterEach(async () => {
  await server.close();
  rmSync(cacheDir, { recursive: true, force: true });
});

const charts = (reach: { addresses?: readonly string[] } = LOOPBACK) => chartRepositories({ cacheDir, reach });
const asked = (): string[] => server.requests.map(({ path }) => path);
const web = (version: string): Promise<Buffer> => chartPackage('web', version, { 'templates/a.yaml': `version: ${version}` });
const serve = (path: string, body: string | Buffer): void => {
  server.files.set(path, { body: Buffer.from(body) });
};

interface Published {
  readonly version: string;
  readonly url?: string;
  readonly digest?: string | null;
}

/** A Helm repository with versions of one chart. */
async function publish(versions: readonly Published[]): Promise<void> {
  const entries: object[] = [];
  for (const { version, url, digest } of versions) {
    const data = await web(version);
    serve(`/charts/web-${version}.tgz`, data);
    entries.push({ version, urls: [url ?? `web-${version}.tgz`], ...(digest !== null && { digest: digest ?? sha256Of(data) }) });
  }
  serve('/charts/index.yaml', JSON.stringify({ apiVersion: 'v1', entries: { web: entries } }));
}

describe('a Helm repository', () => {
  const wanted = () => ({ repoURL: `${server.url}/charts`, chart: 'web' });
  const read = async (range: string, credentials: Credentials = {}, repositories = charts()): Promise<string> => {
    const version = await repositories.resolve(wanted(), range, credentials, signal);
    const directory = await repositories.checkout(wanted(), version, credentials, signal);
    return readFileSync(join(directory, 'templates/a.yaml'), 'utf8');
  };

  it('gives the newest version in a range', async () => {
    await publish([{ version: '1.0.0' }, { version: '1.4.2' }, { version: '2.0.0' }, { version: '3.0.0-rc.1' }]);
    expect(await read('^1.0.0')).toBe('version: 1.4.2');
    expect(await read('*')).toBe('version: 2.0.0');
    expect(await read('1.0.0')).toBe('version: 1.0.0');
    await expect(read('>=9')).rejects.toThrow('the newest are 3.0.0-rc.1, 2.0.0, 1.4.2, 1.0.0. Correct targetRevision');
  });

  it('is asked for a chart once, and for a new index only', async () => {
    await publish([{ version: '1.0.0' }, { version: '1.1.0', digest: null }]);
    const repositories = charts();
    for (const range of ['1.0.0', '1.0.0', '1.1.0', '1.1.0']) await read(range, {}, repositories);
    expect(asked().filter((path) => path.endsWith('.tgz'))).toEqual(['/charts/web-1.0.0.tgz', '/charts/web-1.1.0.tgz']);
    // another process finds it on disk
    await read('1.0.0');
    expect(asked().filter((path) => path.endsWith('web-1.0.0.tgz'))).toHaveLength(1);
    expect(readdirSync(join(cacheDir, 'charts'))).toHaveLength(2);
  });

  it('may change what a version is', async () => {
    await publish([{ version: '1.0.0' }]);
    const repositories = charts();
    await read('1.0.0', {}, repositories);
    const other = await chartPackage('web', '1.0.0', { 'templates/a.yaml': 'changed: true' });
    serve('/charts/web-1.0.0.tgz', other);
    serve('/charts/index.yaml', `entries: {web: [{version: 1.0.0, urls: [web-1.0.0.tgz], digest: ${sha256Of(other)}}]}`);
    expect(await read('1.0.0', {}, repositories)).toBe('changed: true');
  });

  it.each<[string, (repository: string) => Promise<void>, string]>([
    ['a digest that is another', () => publish([{ version: '1.0.0', digest: 'a'.repeat(64) }]), 'was changed or damaged'],
    ['no index', async () => {}, 'answered 404 Not Found. Check repoURL'],
    ['an index that is none', async () => serve('/charts/index.yaml', '<html>'), 'not the index of a Helm repository'],
    ['no such chart', async () => serve('/charts/index.yaml', '{"entries": {}}'), 'its index does not name it. Correct chart'],
    ['a chart by another protocol', () => publish([{ version: '1.0.0', url: 'file:///etc/passwd' }]), 'is no http(s) URL'],
    [
      'a login',
      async () => void server.files.set('/charts/index.yaml', { body: Buffer.from(''), challenge: 'Basic realm="x"' }),
      'answered 401 Unauthorized. Give a Secret with the label argocd.argoproj.io/secret-type: repository',
    ],
    [
      'too large a chart',
      async () => {
        await publish([{ version: '1.0.0' }]);
        serve('/charts/web-1.0.0.tgz', Buffer.alloc(20 * 1024 * 1024 + 1));
      },
      'larger than 20 MiB',
    ],
    [
      'a chart with a link',
      async () => {
        await publish([{ version: '1.0.0', digest: null }]);
        serve('/charts/web-1.0.0.tgz', await tgz([[{ name: 'web/x', type: 'symlink', linkname: '/etc/passwd' }]]));
      },
      'holds a link',
    ],
  ])('with %s is refused, and leaves nothing', async (_name, make, complaint) => {
    await make(server.url);
    await expect(read('1.0.0')).rejects.toThrow(complaint);
    expect(readdirSync(cacheDir, { recursive: true }).filter((name) => String(name) !== 'charts')).toEqual([]);
  });

  it('gets credentials itself, but no other server does unless that is wanted', async () => {
    const other = await startImageServer();
    try {
      await publish([{ version: '1.0.0', url: `${other.url}/web-1.0.0.tgz` }]);
      other.files.set('/web-1.0.0.tgz', { body: await web('1.0.0') });
      const ann: Credentials = { username: 'ann', password: 'hunter2' };
      const basic = `Basic ${Buffer.from('ann:hunter2').toString('base64')}`;
      await read('1.0.0', ann);
      expect(server.requests.map(({ authorization }) => authorization)).toEqual([basic]);
      expect(other.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
      rmSync(join(cacheDir, 'charts'), { recursive: true });
      await read('1.0.0', { ...ann, passCredentials: true });
      expect(other.requests.at(-1)?.authorization).toBe(basic);
    } finally {
      await other.close();
    }
  });

  it('at this machine is refused, by name and after a redirect too', async () => {
    await publish([{ version: '1.0.0' }]);
    const refused = async (repoURL: string, addresses: readonly string[] = []): Promise<void> => {
      const repositories = chartRepositories({ cacheDir, reach: { addresses } });
      await expect(repositories.resolve({ repoURL, chart: 'web' }, '*', {}, signal)).rejects.toThrow(
        '`slipway up --allow-git-address` allows one',
      );
    };
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '[::1]'])
      await refused(`http://${host}:${server.port}/charts`);
    await refused(`oci://127.0.0.1:${server.port}/charts`);
    await refused('http://169.254.169.254/latest');
    expect(server.requests).toEqual([]);
    server.files.set('/away/index.yaml', {
      body: Buffer.from(''),
      redirect: `http://127.0.0.2:${server.port}/charts/index.yaml`,
    });
    await refused(`${server.url}/away`, ['127.0.0.1']);
    expect(asked()).toEqual(['/away/index.yaml']);
  });

  it('of a CA is read once the CA is known', async () => {
    const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
    const authority = await createAuthority({ commonName: 'authority', ...validity });
    const own = await issueCertificate(authority, {
      ...{ commonName: 'charts', usages: ['server'], ipAddresses: ['127.0.0.1'] },
      ...validity,
    });
    const index = JSON.stringify({ entries: { web: [{ version: '1.0.0', urls: ['x.tgz'] }] } });
    const secure = createServer({ cert: own.cert, key: own.key }, (_request, response) => void response.end(index));
    secure.listen(0, '127.0.0.1');
    await once(secure, 'listening');
    try {
      const address = secure.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      const secured = { repoURL: `https://127.0.0.1:${port}`, chart: 'web' };
      await expect(charts().resolve(secured, '*', {}, signal)).rejects.toThrow(
        'Put the CA certificate into ConfigMap argocd-tls-certs-cm under the key 127.0.0.1',
      );
      expect(await charts().resolve(secured, '*', { ca: authority.cert }, signal)).toBe('1.0.0');
      expect(await charts().resolve(secured, '*', { insecure: true }, signal)).toBe('1.0.0');
    } finally {
      secure.close();
    }
  });
});

describe('a registry', () => {
  const plain: Credentials = { plainHttp: true };
  const wanted = () => ({ repoURL: `127.0.0.1:${server.port}/charts`, chart: 'web' });

  /** Pushes versions; each must ask for a token first. */
  async function push(versions: readonly string[]): Promise<void> {
    const challenge = `Bearer realm="${server.url}/token",service="registry",scope="repository:charts/web:pull"`;
    const put = (path: string, body: string | Buffer): void =>
      void server.files.set(`/v2/charts/web/${path}`, { body: Buffer.from(body), challenge });
    for (const version of versions) {
      const data = await web(version);
      const config = { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: `sha256:${'0'.repeat(64)}`, size: 2 };
      const layer = { mediaType: CHART_LAYER, digest: `sha256:${sha256Of(data)}`, size: data.length };
      const manifest = JSON.stringify({ schemaVersion: 2, config, layers: [layer] });
      put(`blobs/${layer.digest}`, data);
      put(`manifests/${version.replace('+', '_')}`, manifest);
      put(`manifests/sha256:${sha256Of(manifest)}`, manifest);
    }
    put(
      'tags/list',
      JSON.stringify({ name: 'charts/web', tags: [...versions.map((version) => version.replace('+', '_')), 'latest'] }),
    );
    serve('/token', JSON.stringify({ token: 'a-token' }));
  }

  const read = async (range: string, credentials: Credentials, repositories = charts()): Promise<string> => {
    const version = await repositories.resolve(wanted(), range, credentials, signal);
    return readFileSync(join(await repositories.checkout(wanted(), version, credentials, signal), 'templates/a.yaml'), 'utf8');
  };

  it('gives a version, or the newest in a range, to who logs in', async () => {
    await push(['1.0.0', '1.2.0+build.7', '2.0.0']);
    const credentials = { ...plain, username: 'ann', password: 'hunter2' };
    expect(await read('1.0.0', credentials)).toBe('version: 1.0.0');
    expect(asked()).not.toContain('/v2/charts/web/tags/list');
    expect(await read('^1.0.0', credentials)).toBe('version: 1.2.0+build.7');
    const token = server.requests.find(({ path }) => path === '/token');
    expect(token?.authorization).toBe(`Basic ${Buffer.from('ann:hunter2').toString('base64')}`);
    const blob = server.requests.find(({ path }) => path.includes('/blobs/'));
    expect(server.requests.filter(({ path }) => path.includes('/blobs/')).at(-1)?.authorization).toBe('Bearer a-token');
    expect(blob).toBeDefined();
    await expect(read('>=9', credentials)).rejects.toThrow('the newest are 2.0.0, 1.2.0+build.7, 1.0.0');
  });

  it('is asked for a chart once', async () => {
    await push(['1.0.0']);
    const repositories = charts();
    await read('1.0.0', plain, repositories);
    const before = asked().filter((path) => path.includes('/blobs/')).length;
    await read('1.0.0', plain, repositories);
    await read('1.0.0', plain);
    expect(asked().filter((path) => path.includes('/blobs/'))).toHaveLength(before);
  });

  it('gives a chart by the digest of its manifest, and of an artifact that is the repository itself', async () => {
    await push(['1.0.0']);
    const manifest = server.files.get('/v2/charts/web/manifests/1.0.0')?.body ?? '';
    const digest = `sha256:${sha256Of(manifest)}`;
    const itself = { repoURL: `oci://127.0.0.1:${server.port}/charts/web`, chart: '' };
    expect(await charts().resolve(itself, digest, plain, signal)).toBe(digest);
    const directory = await charts().checkout(itself, digest, plain, signal);
    expect(readFileSync(join(directory, 'Chart.yaml'), 'utf8')).toContain('name: web');
    serve(`/v2/charts/web/manifests/${digest}`, '{}');
    await expect(charts().resolve(itself, digest, plain, signal)).rejects.toThrow('is not the one that');
  });

  it.each<[string, () => Promise<void>, Credentials, string]>([
    [
      'an image in its place',
      async () => serve('/v2/charts/web/manifests/1.0.0', '{"layers": []}'),
      plain,
      'holds no Helm chart',
    ],
    ['no such tag', async () => {}, plain, 'answered 404 Not Found. Check repoURL, chart and targetRevision'],
    [
      'a layer that is another',
      async () => {
        await push(['1.0.0']);
        const path = [...server.files.keys()].find((name) => name.includes('/blobs/')) ?? '';
        serve(path, await web('6.6.6'));
      },
      plain,
      'was changed or damaged',
    ],
    ['TLS where there is none', () => push(['1.0.0']), {}, 'unable to read'],
    [
      'tags that are none',
      async () => serve('/v2/charts/web/tags/list', '[]'),
      { ...plain, username: '*' },
      'without a list of tags',
    ],
  ])('with %s is refused', async (_name, make, credentials, complaint) => {
    await make();
    await expect(read(credentials.username === '*' ? '*' : '1.0.0', credentials)).rejects.toThrow(complaint);
  });
});
