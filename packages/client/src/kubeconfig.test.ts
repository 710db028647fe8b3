import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  emptyKubeconfig,
  kubeconfigPaths,
  type KubeconfigUser,
  loadKubeconfigs,
  mergeKubeconfigs,
  overlayKubeconfig,
  parseKubeconfig,
  renderKubeconfig,
  resolveKubeconfig,
} from './kubeconfig.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'slipway-kubeconfig-'));
});
afterAll(() => rm(dir, { recursive: true }));

const configWith = (name: string, user: KubeconfigUser = {}) => ({
  ...emptyKubeconfig(),
  clusters: [{ name, cluster: { server: `https://${name}:6443` } }],
  users: [{ name, user }],
  contexts: [{ name, context: { cluster: name, user: name, namespace: `ns-${name}` } }],
  'current-context': name,
});

describe('kubeconfig', () => {
  it('loads a list of files; the first to say something wins, missing files do not matter', async () => {
    await writeFile(join(dir, 'one'), renderKubeconfig(configWith('one')));
    await writeFile(
      join(dir, 'two'),
      renderKubeconfig(mergeKubeconfigs([configWith('two'), configWith('one', { token: 'late' })])),
    );
    const merged = await loadKubeconfigs([join(dir, 'one'), join(dir, 'missing'), join(dir, 'two')]);
    expect(merged.contexts.map(({ name }) => name)).toEqual(['one', 'two']);
    expect(merged['current-context']).toBe('one');
    expect(merged.users[0]?.user).toEqual({});
  });

  it('overlays new entries on a config without losing the others', () => {
    const base = {
      ...mergeKubeconfigs([configWith('one'), configWith('slipway', { token: 'old' })]),
      preferences: { colors: true },
    };
    const merged = overlayKubeconfig(base, configWith('slipway', { token: 'new' }));
    expect(merged.users.find(({ name }) => name === 'slipway')?.user.token).toBe('new');
    expect(merged.clusters.map(({ name }) => name).sort()).toEqual(['one', 'slipway']);
    expect(merged['current-context']).toBe('slipway');
    expect(merged['preferences']).toEqual({ colors: true });
  });

  it('finds its files', () => {
    expect(kubeconfigPaths({ explicit: '/x', variable: '/a:/b', home: '/root' })).toEqual(['/x']);
    expect(kubeconfigPaths({ variable: '/a::/b', home: '/root' })).toEqual(['/a', '/b']);
    expect(kubeconfigPaths({ home: '/root' })).toEqual(['/root/.kube/config']);
  });

  it('reads a token file for every use, relative to the kubeconfig', async () => {
    await writeFile(join(dir, 'token'), 'first\n');
    const config = parseKubeconfig(renderKubeconfig(configWith('one', { tokenFile: 'token' })), dir);
    const { client, namespace } = await resolveKubeconfig(config);
    expect(namespace).toBe('ns-one');
    expect(await client.credentials?.()).toEqual({ token: 'first' });
    await writeFile(join(dir, 'token'), 'second\n');
    expect(await client.credentials?.()).toEqual({ token: 'second' });
  });

  it('asks an exec plugin once until its credential expires', async () => {
    const calls: string[] = [];
    const answers = [{ token: 'a', expirationTimestamp: '2001-01-01T00:00:00Z' }, { token: 'b' }];
    const config = configWith('one', {
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: 'get-token',
        args: ['-x'],
        env: [{ name: 'A', value: '1' }],
      },
    });
    const { client } = await resolveKubeconfig(config, {
      runPlugin: (command, args, env) => {
        calls.push(`${command} ${args.join(' ')} A=${env['A']} ${JSON.parse(env['KUBERNETES_EXEC_INFO'] ?? '{}').kind}`);
        return Promise.resolve(JSON.stringify({ status: answers[calls.length - 1] }));
      },
    });
    expect(await client.credentials?.()).toEqual({ token: 'a' });
    expect(await client.credentials?.()).toEqual({ token: 'b' });
    expect(await client.credentials?.()).toEqual({ token: 'b' });
    expect(calls).toEqual(Array(2).fill('get-token -x A=1 ExecCredential'));
  });

  it.each([
    ['no such context', 'other', 'no context "other"'],
    ['nothing chosen', '', 'names no current context'],
  ])('says what is wrong: %s', async (_, context, message) => {
    await expect(resolveKubeconfig(configWith('one'), { context })).rejects.toThrow(message);
  });

  it('refuses what is not a kubeconfig', () => {
    expect(() => parseKubeconfig('[1, 2]', '/')).toThrow('Not a kubeconfig');
  });
});
