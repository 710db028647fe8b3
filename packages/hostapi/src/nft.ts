import type { CommandRunner } from './command-runner.ts';
import { HostError } from './host-error.ts';

export interface NftTable {
  readonly family: string;
  readonly name: string;
}

/** nftables, by default in the caller's network namespace. */
export interface NftCommand {
  /** Applies a ruleset script as one transaction: all of it or nothing. */
  apply(script: string, signal: AbortSignal): Promise<void>;
  tables(signal: AbortSignal): Promise<readonly NftTable[]>;
  /** Names of the chains and sets of a table; none when it is not there. */
  partsOf(
    table: NftTable,
    signal: AbortSignal,
  ): Promise<{ readonly chains: readonly string[]; readonly sets: readonly string[] }>;
  /** No error when the table is not there. */
  deleteTable(table: NftTable, signal: AbortSignal): Promise<void>;
  inNamespace(netns: string): NftCommand;
}

/** `nft` through a runner. */
export function nftCommand(runner: CommandRunner, netns?: string): NftCommand {
  const command = (args: readonly string[]): [string, ...string[]] =>
    netns === undefined ? ['nft', ...args] : ['ip', 'netns', 'exec', netns, 'nft', ...args];
  return {
    async apply(script, signal) {
      await runner.run(command(['-f', '-']), { stdin: script }, signal);
    },
    async tables(signal) {
      const { stdout } = await runner.run(command(['-j', 'list', 'tables']), {}, signal);
      const parsed = JSON.parse(stdout) as { nftables?: { table?: { family: string; name: string } }[] };
      return (parsed.nftables ?? []).flatMap(({ table }) => (table ? [{ family: table.family, name: table.name }] : []));
    },
    async partsOf({ family, name }, signal) {
      const parts = async (what: 'chain' | 'set'): Promise<string[]> => {
        const { stdout } = await runner.run(command(['-j', 'list', `${what}s`]), {}, signal);
        const parsed = JSON.parse(stdout) as {
          nftables?: Partial<Record<string, { family: string; table: string; name: string }>>[];
        };
        return (parsed.nftables ?? []).flatMap((entry) => {
          const part = entry[what];
          return part?.family === family && part.table === name ? [part.name] : [];
        });
      };
      return { chains: await parts('chain'), sets: await parts('set') };
    },
    async deleteTable({ family, name }, signal) {
      try {
        await runner.run(command(['delete', 'table', family, name]), {}, signal);
      } catch (error) {
        if (error instanceof HostError && error.stderrTail.includes('No such file or directory')) return;
        throw error;
      }
    },
    inNamespace: (name) => nftCommand(runner, name),
  };
}
