import type { Command } from 'commander';
import type { CommandHost } from './context.ts';
import { CommandFailure } from './io.ts';

const SHELLS: Readonly<Record<string, (name: string, nodes: readonly Node[]) => string>> = {
  bash: bashScript,
  // zsh reads bash's own format
  zsh: (name, nodes) => `#compdef ${name}\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(name, nodes)}`,
  fish: fishScript,
};

/** completion bash|zsh|fish: a script that completes commands and flags. */
export function addCompletionCommand({ program, io }: CommandHost): void {
  program
    .command('completion <shell>')
    .description(`Print a completion script (${Object.keys(SHELLS).join(', ')}).`)
    .action((shell: string) => {
      const script = SHELLS[shell];
      if (script === undefined) throw new CommandFailure(`no completion for ${shell}: use ${Object.keys(SHELLS).join(', ')}`);
      // `slipway virt` is completed as virtctl: a shell completes programs, not their arguments
      io.stdout.write(script('virtctl', nodesOf(program, [])));
    });
}

/** A place in the command tree. */
interface Node {
  readonly path: readonly string[];
  readonly children: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly { readonly name: string; readonly description: string }[];
}

/** Deepest first, so that the first match is the right one. */
function nodesOf(command: Command, path: readonly string[]): Node[] {
  const children = command.commands.map((child) => ({ name: child.name(), description: child.description() }));
  const flags = command.options.flatMap(({ long, description }) => (long ? [{ name: long, description }] : []));
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

function fishScript(name: string, nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, children, flags }) => {
    const condition =
      path.length === 0 ? '__fish_use_subcommand' : path.map((part) => `__fish_seen_subcommand_from ${part}`).join('; and ');
    return [
      ...children.map(
        (child) => `complete -c ${name} -f -n ${quoted(condition)} -a ${child.name} -d ${quoted(child.description)}`,
      ),
      ...flags.map(
        (flag) => `complete -c ${name} -n ${quoted(condition)} -l ${flag.name.slice(2)} -d ${quoted(flag.description)}`,
      ),
    ];
  });
  return `# fish completion for ${name}\n${lines.join('\n')}\n`;
}
