import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { instanceFile } from './moving-guest.ts';
import type { Platform } from './platform.ts';

/** What a node has of guests: processes, mounts, network namespaces, links, sandboxes, volumes; empty when it has none. */
export function nodeLeftovers(platform: Platform, node: string): readonly string[] {
  const { nodes } = instanceFile(platform);
  const prefix = nodes.find(({ name }) => name === node)?.hostPrefix ?? '';
  const home = join(platform.dataDir, 'nodes', node);
  const entries = (directory: string): string[] => {
    const path = join(home, directory);
    const names = existsSync(path) ? readdirSync(path).filter((name) => !name.startsWith('.')) : [];
    return names.map((name) => `${directory}/${name}`);
  };
  const text = (...argv: [string, ...string[]]): string[] => {
    const [command, ...args] = argv;
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
  };
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return [
    ...['sandboxes', 'volumes', 'podvolumes', 'movers', 'network/pods'].flatMap(entries),
    ...processesOf(`/slipway-${prefix}/`).map(({ command }) => `process ${command.slice(0, 80)}`),
    ...mounts.filter((line) => line.includes(`${home}/sandboxes/`)),
    ...text('ip', 'netns', 'list').filter((line) => line.startsWith(`${prefix}-`) && !line.startsWith(`${prefix}-node`)),
    ...text('ip', '-n', `${prefix}-node`, '-br', 'link').filter(
      (line) => line.startsWith(prefix) && !line.startsWith(`${prefix}br`),
    ),
  ];
}

export interface HostProcess {
  readonly pid: number;
  readonly command: string;
}

/** Processes in cgroups whose name has this in it. */
export function processesOf(cgroup: string): readonly HostProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        if (!readFileSync(`/proc/${name}/cgroup`, 'utf8').includes(cgroup)) return [];
        return [{ pid: Number(name), command: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ') }];
      } catch {
        return []; // ended meanwhile
      }
    });
}
