import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Everything on a host that the platform could leave behind, as sorted lines per category. */
export type HostSnapshot = Readonly<Record<string, readonly string[]>>;

const run = (command: string, ...args: string[]): string => {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return ''; // the program or the object is not there: then it has left nothing behind either
  }
};

const lines = (text: string): string[] => [...new Set(text.split('\n').filter((line) => line !== ''))].sort();

function processes(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return /slipway|libvirtd|virtqemud|qemu-system|swtpm|virtiofsd|nbdkit/.test(command) ? [command] : [];
      } catch {
        return []; // ended meanwhile
      }
    });
}

const linkNames = (): string =>
  (JSON.parse(run('ip', '-j', 'link') || '[]') as { ifname: string }[]).map((link) => link.ifname).join('\n');

const directories = (path: string): string =>
  existsSync(path) ? run('find', path, '-mindepth', '1', '-maxdepth', '4', '-type', 'd') : '';

/** Takes the snapshot; `files` are directories whose entries count too. */
export function takeHostSnapshot(files: readonly string[]): HostSnapshot {
  return {
    processes: processes().sort(),
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8').replaceAll(/^\d+ \d+ \S+ /gm, '')),
    namespaces: lines(run('ip', 'netns', 'list')),
    links: lines(linkNames()),
    routes: lines(`${run('ip', 'route')}${run('ip', '-6', 'route')}`),
    nftTables: lines(run('nft', 'list', 'tables')),
    cgroups: lines(directories('/sys/fs/cgroup')),
    loopDevices: lines(run('losetup', '--noheadings', '--output', 'NAME,BACK-FILE')),
    files: lines(files.map((directory) => (existsSync(directory) ? run('find', directory, '-maxdepth', '1') : '')).join('\n')),
  };
}

/** What the second snapshot has that the first had not, one `category: line` each. */
export function leftovers(before: HostSnapshot, after: HostSnapshot): string[] {
  return Object.entries(after).flatMap(([category, entries]) => {
    const known = new Set(before[category]);
    return entries.filter((entry) => !known.has(entry)).map((entry) => `${category}: ${entry}`);
  });
}
