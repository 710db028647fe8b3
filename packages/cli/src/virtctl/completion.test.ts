import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { virtctl } from './testing.ts';

/** What bash offers for a line whose last word is being typed. */
async function complete(...words: string[]): Promise<string[]> {
  const { out } = await virtctl('completion bash');
  const ask = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _virtctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', `${out}\n${ask}`])
    .toString()
    .trim()
    .split('\n')
    .toSorted();
}

describe('completion', () => {
  it.each([
    [['virtctl', 'sta'], ['start']],
    [['virtctl', 'create', 'p'], ['preference']],
    [['virtctl', 'start', '--pa'], ['--paused']],
    [['virtctl', 'vmexport', 'download', '--manifest-o'], ['--manifest-output-format']],
    [['virtctl', 'completion', 'p'], ['powershell']],
    [['virtctl', '-n', 'stop', '--dry'], ['--dry-run']],
  ])('%s', async (words, expected) => {
    expect(await complete(...words)).toEqual(expected);
  });

  it('is there for other shells, and says which', async () => {
    expect((await virtctl('completion zsh')).out).toMatch(/^#compdef virtctl\n/);
    expect((await virtctl('completion fish')).out).toContain("complete -c virtctl -f -n '__fish_use_subcommand' -a start");
    expect((await virtctl('completion fish --no-descriptions')).out).not.toContain(' -d ');
    const { out } = await virtctl('completion powershell');
    expect(out).toContain("Register-ArgumentCompleter -Native -CommandName 'virtctl'");
    expect(out).toContain(
      "'create' { [CompletionResult]::new('vm', 'vm', [CompletionResultType]::ParameterValue, 'Print the manifest of a virtual machine.')",
    );
    expect((await virtctl('completion')).out).toMatch(
      /Available Commands:\n {2}bash .*\n {2}fish .*\n {2}powershell .*\n {2}zsh /,
    );
  });
});
