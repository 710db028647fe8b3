import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Everything on a host that the platform could leave behind, as sorted lines per category. */
export interface HostSnapshot {
  readonly lines: Readonly<Record<string, readonly string[]>>;
  /** Installations with a process or guest on this host: what they bring and take meanwhile is their own business. */
  readonly installations: readonly Installation[];
}

interface Installation {
  readonly dataDir: string;
  /** Texts of which each host object of the installation bears one. */
  readonly marks: readonly string[];
  readonly firstUid: number;
}

/** How many users `up` reserves for one installation, from the server's on. */
const UIDS_PER_INSTALLATION = 8192 * 16;

const run = (command: string, ...args: string[]): string => {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return ''; // the program or the object is not there: then it has left nothing behind either
  }
};

const lines = (text: string): string[] => [...new Set(text.split('\n').filter((line) => line !== ''))].sort();

interface HostProcess {
  readonly uid: number;
  readonly command: string;
}

function allProcesses(): HostProcess[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return [{ uid: statSync(`/proc/${pid}`).uid, command }];
      } catch {
        return []; // ended meanwhile
      }
    });
}

const OF_A_PLATFORM =
  /\/bin\/(?:(?:server|node)\.program|mover\.mjs)|\/sandboxes\/|libvirtd|virtqemud|qemu-system|swtpm|virtiofsd|nbdkit/;

function installationsOf(processes: readonly HostProcess[]): Installation[] {
  const dataDirs = processes.flatMap(
    ({ command }) => command.match(/(\/\S+?)(?:\/bin\/(?:server|node)\.program|\/nodes\/[^/ ]+\/sandboxes\/)/)?.[1] ?? [],
  );
  return [...new Set(dataDirs)].flatMap((dataDir) => {
    try {
      const config: InstanceFile = JSON.parse(readFileSync(join(dataDir, 'instance.json'), 'utf8'));
      const networks = config.nodes.flatMap((node) => [node.hostPrefix, node.podCidrV4, node.podCidrV6]);
      const link = config.link ? [`${config.id}-link`, `${config.id}up`, `slipway_${config.id}`] : [];
      return [{ dataDir, marks: [dataDir, ...networks, ...link], firstUid: config.serverUid }];
    } catch {
      return []; // it is being reset right now
    }
  });
}

interface InstanceFile {
  readonly id: string;
  /** There when the installation has several nodes. */
  readonly link?: object;
  readonly serverUid: number;
  readonly nodes: readonly { hostPrefix: string; podCidrV4: string; podCidrV6: string }[];
}

const linkNames = (): string =>
  (JSON.parse(run('ip', '-j', 'link') || '[]') as { ifname: string }[]).map((link) => link.ifname).join('\n');

const directories = (path: string): string =>
  existsSync(path) ? run('find', path, '-mindepth', '1', '-maxdepth', '4', '-type', 'd') : '';

/** Takes the snapshot; `files` are directories whose entries count too. */
export function takeHostSnapshot(files: readonly string[]): HostSnapshot {
  const processes = allProcesses();
  const ofPlatforms = processes.filter(({ command }) => OF_A_PLATFORM.test(command));
  return {
    installations: installationsOf(processes),
    lines: {
      processes: ofPlatforms.map(({ uid, command }) => `${uid} ${command}`).sort(),
      mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8').replaceAll(/^\d+ \d+ \S+ /gm, '')),
      namespaces: lines(run('ip', 'netns', 'list')),
      links: lines(linkNames()),
      routes: lines(`${run('ip', 'route')}${run('ip', '-6', 'route')}`),
      nftTables: lines(run('nft', 'list', 'tables')),
      // others of the host come and go meanwhile
      cgroups: lines(directories('/sys/fs/cgroup')).filter((path) => path.includes('/slipway-')),
      loopDevices: lines(run('losetup', '--noheadings', '--output', 'NAME,BACK-FILE')),
      files: lines(files.map((directory) => (existsSync(directory) ? run('find', directory, '-maxdepth', '1') : '')).join('\n')),
    },
  };
}

/** What the second snapshot has that the first had not, one `category: line` each; other installations left out. */
export function leftovers(before: HostSnapshot, after: HostSnapshot, ownDataDir: string): string[] {
  const others = [...before.installations, ...after.installations].filter(({ dataDir }) => dataDir !== ownDataDir);
  const isForeign = (line: string): boolean => {
    const uid = Number(/^\d+ /.exec(line)?.[0]);
    return others.some(
      ({ marks, firstUid }) =>
        marks.some((mark) => line.includes(mark)) || (uid >= firstUid && uid < firstUid + UIDS_PER_INSTALLATION),
    );
  };
  return Object.entries(after.lines).flatMap(([category, entries]) => {
    const known = new Set(before.lines[category]);
    return entries.filter((entry) => !known.has(entry) && !isForeign(entry)).map((entry) => `${category}: ${entry}`);
  });
}
