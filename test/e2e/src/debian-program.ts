import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A program of a Debian package: the installed one, else one that is unpacked into `directory`, so that no service of it
 * is ever started on this machine.
 */
export function debianProgram(packageName: string, path: string, directory: string): string {
  if (existsSync(path)) return path;
  const root = join(directory, packageName);
  mkdirSync(root, { recursive: true });
  const apt = (...args: string[]) =>
    execFileSync('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', ...args], { cwd: root, stdio: 'pipe' });
  try {
    apt('download', packageName);
  } catch {
    apt('update'); // there were no lists, or old ones
    apt('download', packageName);
  }
  const archive = readdirSync(root).find((name) => name.endsWith('.deb')) ?? '';
  execFileSync('dpkg-deb', ['-x', join(root, archive), root]);
  return join(root, path);
}
