import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, type CommandRunner } from '@slipway/hostapi';
import { compareVersions, parseConstraint, parseVersion } from '@slipway/helm';
import type { Credentials } from './credentials.ts';
import { guardedProxy } from './guarded-proxy.ts';
import { checkPath, placeOf, type SourceReach, sourceGuard, sshAddress } from './reach.ts';
import { SourceError } from './source-error.ts';
import { dropOldTrees, exists } from './trees.ts';

export interface GitDeps {
  readonly runner: CommandRunner;
  /** Everything is kept below this directory. */
  readonly cacheDir: string;
  /** Nothing of this machine when absent. */
  readonly reach?: SourceReach;
}

const TIMEOUT_MS = 90_000;
const MAX_OUTPUT = 16 * 1024 * 1024;
const SHA = /^[0-9a-f]{40}$/;

/** Repositories as directories of files, by the git program. */
export interface GitRepositories {
  /** The commit that a branch, tag, range of tags or HEAD means now. */
  resolve(url: string, revision: string, credentials: Credentials, signal: AbortSignal): Promise<string>;
  /** A directory with the files of a commit. It must not be changed. */
  checkout(url: string, revision: string, commit: string, credentials: Credentials, signal: AbortSignal): Promise<string>;
}

export function gitRepositories({ runner, cacheDir, reach = {} }: GitDeps): GitRepositories {
  const guard = sourceGuard(reach);
  /** Runs git where the repository's place is one that may be reached. */
  const entering = async <T>(
    { url, credentials }: Pick<Wanted, 'url' | 'credentials'>,
    signal: AbortSignal,
    act: (run: Run) => Promise<T>,
  ): Promise<T> => {
    const place = placeOf(url);
    if (place.type === 'file') await checkPath(reach, place.path);
    const address = place.type === 'ssh' ? await sshAddress(guard, place) : undefined;
    const proxy = place.type === 'http' ? await guardedProxy(guard) : undefined;
    const way: Way = {
      protocols: place.type === 'http' ? 'http:https' : place.type,
      ...(proxy && { proxy: proxy.url }),
      ...(place.type === 'ssh' && address !== undefined && { ssh: { host: place.host, address } }),
    };
    const { env, cleanUp } = await environment(cacheDir, credentials, way);
    const run: Run = async (args) => {
      try {
        const options = { env, timeoutMs: TIMEOUT_MS, maxOutputBytes: MAX_OUTPUT };
        return (await runner.run(['git', ...args], options, signal)).stdout;
      } catch (error) {
        if (error instanceof HostError) throw new SourceError(proxy?.refusals[0] ?? explain(error));
        throw error;
      }
    };
    try {
      return await act(run);
    } finally {
      await cleanUp();
      await proxy?.close();
    }
  };
  return {
    async resolve(url, revision, credentials, signal) {
      placeOf(url);
      if (SHA.test(revision)) return revision;
      const wanted = revision === '' ? 'HEAD' : revision;
      const output = await entering({ url, credentials }, signal, (run) => run(['ls-remote', '--', url]));
      const commit = commitOf(parseRefs(output), wanted);
      if (commit === undefined) throw new SourceError(`unable to resolve '${wanted}' to a commit SHA`);
      return commit;
    },
    async checkout(url, revision, commit, credentials, signal) {
      placeOf(url);
      const name = createHash('sha256').update(`${url}\0${commit}`).digest('hex').slice(0, 40);
      const trees = join(cacheDir, 'trees');
      const directory = join(trees, name);
      if (await exists(directory)) return directory;
      await mkdir(trees, { recursive: true, mode: 0o700 });
      const work = await mkdtemp(join(trees, 'new-'));
      try {
        await entering({ url, credentials }, signal, async (run) => {
          await run(['init', '-q', work]);
          await fetchCommit(run, work, { url, revision, commit, credentials });
          await run(['-C', work, 'checkout', '-q', '--force', commit]);
        });
        await rm(join(work, '.git'), { recursive: true, force: true });
        await rename(work, directory).catch(async (error: unknown) => {
          // another reconcile was quicker
          if (!(await exists(directory))) throw error;
        });
      } finally {
        await rm(work, { recursive: true, force: true });
      }
      await dropOldTrees(trees, name);
      return directory;
    },
  };
}

type Run = (args: readonly string[]) => Promise<string>;

interface Wanted {
  readonly url: string;
  readonly revision: string;
  readonly commit: string;
  readonly credentials: Credentials;
}

/** One commit only; servers that do not give single commits are asked for everything. */
async function fetchCommit(run: Run, work: string, { url, commit }: Wanted): Promise<void> {
  const fetch = (...args: string[]): Promise<string> => run(['-C', work, 'fetch', '-q', '--no-tags', ...args]);
  try {
    await fetch('--depth', '1', '--', url, commit);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    await fetch('--', url, '+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*');
  }
}

/** How git gets to a repository. */
interface Way {
  /** That it may use at all. */
  readonly protocols: string;
  readonly proxy?: string;
  /** The name whose keys are known, and the address that was checked. */
  readonly ssh?: { readonly host: string; readonly address: string };
}

/** git sees nothing of the host: no configuration, no agent, no prompt. */
async function environment(
  cacheDir: string,
  { username, password, sshPrivateKey, insecure, ca }: Credentials,
  way: Way,
): Promise<{ env: Record<string, string>; cleanUp: () => Promise<void> }> {
  await mkdir(cacheDir, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(cacheDir, 'run-'));
  const config = join(directory, 'gitconfig');
  const ssh = [
    'ssh',
    '-F',
    '/dev/null',
    '-o',
    'BatchMode=yes',
    '-o',
    'ConnectTimeout=20',
    '-o',
    `UserKnownHostsFile=${join(cacheDir, 'known_hosts')}`,
  ];
  ssh.push('-o', `StrictHostKeyChecking=${insecure ? 'no' : 'accept-new'}`);
  let text =
    '[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n[protocol "ext"]\n\tallow = never\n[credential]\n\thelper =\n[submodule]\n\trecurse = false\n[filter "lfs"]\n\tsmudge =\n\trequired = false\n[gc]\n\tauto = 0\n';
  if (way.ssh) ssh.push('-o', `HostName=${way.ssh.address}`, '-o', `HostKeyAlias=${way.ssh.host}`);
  if (way.proxy !== undefined) text += `[http]\n\tproxy = ${way.proxy}\n`;
  if (insecure) text += '[http]\n\tsslVerify = false\n';
  if (ca !== undefined) {
    await writeFile(join(directory, 'ca.pem'), ca);
    text += `[http]\n\tsslCAInfo = ${join(directory, 'ca.pem')}\n`;
  }
  if (sshPrivateKey !== undefined) {
    await writeFile(join(directory, 'key'), sshPrivateKey.endsWith('\n') ? sshPrivateKey : `${sshPrivateKey}\n`, { mode: 0o600 });
    ssh.push('-o', 'IdentitiesOnly=yes', '-i', join(directory, 'key'));
  }
  const env: Record<string, string> = {
    HOME: directory,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: config,
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: way.protocols,
    GIT_SSH_COMMAND: ssh.join(' '),
    GIT_LFS_SKIP_SMUDGE: '1',
  };
  if (password !== undefined) {
    // given by the environment of a helper, so that no argument and no file of the repository holds it
    text +=
      '[credential]\n\thelper = "!f() { test \\"$1\\" = get && printf \'username=%s\\\\npassword=%s\\\\n\' \\"$SOURCE_USER\\" \\"$SOURCE_PASSWORD\\"; }; f"\n';
    env['SOURCE_USER'] = username ?? 'git';
    env['SOURCE_PASSWORD'] = password;
  }
  await writeFile(config, text, { mode: 0o600 });
  return { env, cleanUp: () => rm(directory, { recursive: true, force: true }) };
}

function explain(error: HostError): string {
  const tail = error.stderrTail.trim().split('\n').slice(-3).join(' ');
  return tail === '' ? error.message : `failed to read the repository: ${tail}`;
}

/** `ls-remote` as a map; annotated tags mean the commit that they point to. */
function parseRefs(output: string): Map<string, string> {
  const refs = new Map<string, string>();
  for (const line of output.split('\n')) {
    const [commit = '', name = ''] = line.split('\t');
    if (!SHA.test(commit)) continue;
    if (name.endsWith('^{}')) refs.set(name.slice(0, -3), commit);
    else if (!refs.has(name)) refs.set(name, commit);
  }
  return refs;
}

/** The commit of a branch, tag, full reference or range of version tags. */
export function commitOf(refs: ReadonlyMap<string, string>, revision: string): string | undefined {
  const exact = refs.get(revision) ?? refs.get(`refs/heads/${revision}`) ?? refs.get(`refs/tags/${revision}`);
  if (exact !== undefined) return exact;
  if (/^[0-9a-f]{7,39}$/.test(revision)) {
    const found = [...refs.values()].find((commit) => commit.startsWith(revision));
    if (found !== undefined) return found;
  }
  const check = parseConstraint(revision);
  if (check === undefined) return undefined;
  const versions = [...refs].flatMap(([name, commit]) => {
    const version = parseVersion(name.replace(/^refs\/tags\//, ''));
    return name.startsWith('refs/tags/') && version && check(version) ? [{ version, commit }] : [];
  });
  return versions.sort((a, b) => compareVersions(b.version, a.version))[0]?.commit;
}
