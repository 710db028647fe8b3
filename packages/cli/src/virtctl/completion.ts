import type { Command } from 'commander';
import { addConnectionFlags } from './connection.ts';
import type { CommandHost } from './context.ts';

type Script = (name: string, nodes: readonly Node[], withDescriptions: boolean) => string;

const SHELLS: Readonly<Record<string, Script>> = {
  bash: bashScript,
  fish: fishScript,
  powershell: powershellScript,
  // zsh reads bash's own format
  zsh: (name, nodes) => `#compdef ${name}\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(name, nodes)}`,
};

const LOADING: Readonly<Record<string, string>> = {
  bash: '  source <(PROGRAM completion bash)',
  fish: '  PROGRAM completion fish | source',
  powershell: '  PROGRAM completion powershell | Out-String | Invoke-Expression',
  zsh: '  source <(PROGRAM completion zsh)',
};

/** completion bash|fish|powershell|zsh: a script that completes commands and flags. */
export function addCompletionCommand({ program, io }: CommandHost): void {
  const group = program.command('completion').description('Generate the autocompletion script for the specified shell');
  for (const [shell, script] of Object.entries(SHELLS)) {
    const command = addConnectionFlags(
      group.command(shell).option('--no-descriptions', 'leave out what commands and flags are for'),
    );
    command
      .description(`Generate the autocompletion script for ${shell}`)
      .summary(`  # For this session:\n${LOADING[shell]}`)
      .action(({ descriptions }: { descriptions: boolean }) => {
        // `slipway virt` is completed as virtctl: a shell completes programs, not their arguments
        io.stdout.write(script('virtctl', nodesOf(program, []), descriptions));
      });
  }
}

/** A place in the command tree. */
interface Node {
  readonly path: readonly string[];
  readonly children: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly { readonly name: string; readonly description: string }[];
}

/** Deepest first, so that the first match is the right one. */
function nodesOf(command: Command, path: readonly string[]): Node[] {
  const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';
  const children = command.commands.map((child) => ({ name: child.name(), description: firstLine(child.description()) }));
  const flags = command.options.flatMap(({ long, description, hidden }) =>
    long && !hidden ? [{ name: long, description }] : [],
  );
  return [...command.commands.flatMap((child) => nodesOf(child, [...path, child.name()])), { path, children, flags }];
}

function bashScript(name: string, nodes: readonly Node[]): string {
  const cases = nodes.map(({ path, children, flags }) => {
    const words = [...children, ...flags].map((word) => word.name).join(' ');
    return `    "${path.join(' ')}"*) words="${words}" ;;`;
  });
  return `# bash completion for ${name}
_${name}() {
  local word="\${COMP_WORDS[COMP_CWORD]}" path="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in -*) ;; *) path="$path \${COMP_WORDS[i]}" ;; esac
  done
  case "\${path# }" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _${name} ${name}
`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;

function fishScript(name: string, nodes: readonly Node[], withDescriptions: boolean): string {
  const about = (description: string): string => (withDescriptions ? ` -d ${quoted(description)}` : '');
  const lines = nodes.flatMap(({ path, children, flags }) => {
    const condition =
      path.length === 0 ? '__fish_use_subcommand' : path.map((part) => `__fish_seen_subcommand_from ${part}`).join('; and ');
    return [
      ...children.map((child) => `complete -c ${name} -f -n ${quoted(condition)} -a ${child.name}${about(child.description)}`),
      ...flags.map((flag) => `complete -c ${name} -n ${quoted(condition)} -l ${flag.name.slice(2)}${about(flag.description)}`),
    ];
  });
  return `# fish completion for ${name}\n${lines.join('\n')}\n`;
}

const inPowershell = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function powershellScript(name: string, nodes: readonly Node[], withDescriptions: boolean): string {
  const cases = nodes.map(({ path, children, flags }) => {
    const words = [...children, ...flags].map(({ name: word, description }) => {
      const tip = withDescriptions && description !== '' ? description : word;
      return `[CompletionResult]::new(${[word, word].map(inPowershell).join(', ')}, [CompletionResultType]::ParameterValue, ${inPowershell(tip)})`;
    });
    return `    ${inPowershell(path.join(' '))} { ${words.join('; ')} }`;
  });
  return `# powershell completion for ${name}
using namespace System.Management.Automation
$${name}Words = {
  param($path)
  switch ($path) {
${cases.join('\n')}
  }
}
Register-ArgumentCompleter -Native -CommandName '${name}' -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" } | Where-Object { $_ -notlike '-*' -and $_ -ne $wordToComplete })
  for ($length = $words.Count; $length -ge 0; $length--) {
    $path = ($words | Select-Object -First $length) -join ' '
    $found = @(& $${name}Words $path)
    if ($found.Count -gt 0) { return $found | Where-Object { $_.CompletionText -like "$wordToComplete*" } }
  }
}
`;
}
