import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A repository that commits are made in as a person makes them. */
export interface GitRepository {
  readonly directory: string;
  /** Writes the files, or removes those that are null, and gives the commit, also when nothing is different. */
  commit(files: Readonly<Record<string, string | null>>): string;
}

/** Makes an empty one. */
export function gitRepository(directory: string): GitRepository {
  const env = { PATH: process.env['PATH'] ?? '', HOME: directory, GIT_CONFIG_NOSYSTEM: '1' };
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', '-C', directory, ...args], {
      encoding: 'utf8',
      env,
    }).trim();
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  git('init', '-q', '-b', 'main');
  return {
    directory,
    commit(files) {
      for (const [path, text] of Object.entries(files)) {
        const full = join(directory, path);
        mkdirSync(dirname(full), { recursive: true });
        if (text === null) rmSync(full);
        else writeFileSync(full, text);
      }
      git('add', '-A');
      git('commit', '-q', '--allow-empty', '-m', 'change');
      return git('rev-parse', 'HEAD');
    },
  };
}
