import { access, constants } from 'node:fs/promises';
import type { BuildHost } from './build-host.ts';
import type { HostTool } from './build-plan.ts';

// sbin may be missing from the PATH of a service.
const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Installs the Debian packages of programs that are missing. Throws what to install when apt fails. */
export async function ensureTools(host: BuildHost, tools: readonly HostTool[], signal: AbortSignal): Promise<void> {
  const missing = new Set<string>();
  for (const tool of tools) if (!(await isInstalled(tool.program))) missing.add(tool.package);
  if (missing.size === 0) return;
  const names = [...missing].sort();
  host.progress(`Install ${names.join(' ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await host.run(['apt-get', '-q', 'update'], { env, signal });
    await host.run(['apt-get', '-q', '-y', '--no-install-recommends', 'install', ...names], { env, signal });
  } catch (error) {
    throw new Error(`Cannot install ${names.join(' ')}: run "apt-get install ${names.join(' ')}" as root`, { cause: error });
  }
}

async function isInstalled(program: string): Promise<boolean> {
  for (const directory of DIRECTORIES) {
    try {
      await access(`${directory}/${program}`, constants.X_OK);
      return true;
    } catch {
      // not in this directory
    }
  }
  return false;
}
