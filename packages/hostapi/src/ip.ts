import type { CommandRunner } from './command-runner.ts';

export interface LinkAddress {
  readonly family: 'inet' | 'inet6';
  readonly local: string;
  readonly prefixlen: number;
  readonly scope: string;
}

/** A network interface as `ip -j -d address show` reports it; only the fields that are used. */
export interface Link {
  readonly ifname: string;
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
  readonly operstate: string;
  readonly flags: readonly string[];
  readonly master: string | undefined;
  /** For example `veth`, `bridge`, `tun`. */
  readonly kind: string | undefined;
  readonly addresses: readonly LinkAddress[];
}

/** `ip` and `bridge`, by default in the caller's network namespace. */
export interface IpCommand {
  /** Runs `ip ARGS`. */
  exec(args: readonly string[], signal: AbortSignal): Promise<string>;
  /** Runs many `ip` commands in one process; stops at the first that fails. Lines as for `ip -batch`. */
  batch(lines: readonly string[], signal: AbortSignal, options?: { readonly force?: boolean }): Promise<void>;
  /** Every link, or the ones of a network namespace by name. */
  links(signal: AbortSignal): Promise<readonly Link[]>;
  /** Runs `bridge ARGS`. */
  bridge(args: readonly string[], signal: AbortSignal): Promise<string>;
  /** Names under /run/netns. */
  namespaces(signal: AbortSignal): Promise<readonly string[]>;
  /** The same commands inside a named network namespace. */
  inNamespace(netns: string): IpCommand;
}

interface RawLink {
  ifname?: string;
  ifindex?: number;
  address?: string;
  mtu?: number;
  operstate?: string;
  flags?: string[];
  master?: string;
  linkinfo?: { info_kind?: string };
  addr_info?: { family?: string; local?: string; prefixlen?: number; scope?: string }[];
}

function linkOf(raw: RawLink): Link {
  return {
    ifname: raw.ifname ?? '',
    ifindex: raw.ifindex ?? 0,
    address: raw.address ?? '',
    mtu: raw.mtu ?? 0,
    operstate: raw.operstate ?? '',
    flags: raw.flags ?? [],
    master: raw.master,
    kind: raw.linkinfo?.info_kind,
    addresses: (raw.addr_info ?? []).flatMap(({ family, local, prefixlen, scope }) =>
      (family === 'inet' || family === 'inet6') && local !== undefined
        ? [{ family, local, prefixlen: prefixlen ?? 0, scope: scope ?? '' }]
        : [],
    ),
  };
}

/** `ip` through a runner. */
export function ipCommand(runner: CommandRunner, netns?: string): IpCommand {
  const inside: readonly string[] = netns === undefined ? [] : ['-netns', netns];
  const exec = async (args: readonly string[], signal: AbortSignal): Promise<string> =>
    (await runner.run(['ip', ...inside, ...args], {}, signal)).stdout;
  return {
    exec,
    async batch(lines, signal, options) {
      const force = options?.force ? ['-force'] : [];
      await runner.run(['ip', ...inside, ...force, '-batch', '-'], { stdin: `${lines.join('\n')}\n` }, signal);
    },
    async links(signal) {
      const text = await exec(['-j', '-d', 'address', 'show'], signal);
      // `ip -j` prints an array of links, sometimes with empty objects in it
      const raw = JSON.parse(text.trim() === '' ? '[]' : text) as RawLink[];
      return raw.filter(({ ifname }) => ifname !== undefined).map(linkOf);
    },
    async bridge(args, signal) {
      return (await runner.run(['bridge', ...inside, ...args], {}, signal)).stdout;
    },
    async namespaces(signal) {
      const text = await exec(['netns', 'list'], signal);
      return text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.split(' ')[0] ?? '']));
    },
    inNamespace: (name) => ipCommand(runner, name),
  };
}
