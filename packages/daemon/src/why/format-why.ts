import type { Cause, NodeVerdict, WhyReport } from '@slipway/controllers';

export interface Screen {
  readonly columns: number;
  readonly isColored: boolean;
}

const BOLD = '1';
const RED = '31';
const GREEN = '32';
const YELLOW = '33';
const FAINT = '2';
const INDENT = '  ';

/** One screen about one machine, instance or pod. Pure. */
export function formatWhy(title: string, report: WhyReport, screen: Screen): string {
  const paint = (code: string, text: string): string => (screen.isColored ? `\u001B[${code}m${text}\u001B[0m` : text);
  const heading = (text: string): string[] => ['', paint(BOLD, text)];
  const color = { running: GREEN, stopped: FAINT, waiting: YELLOW }[report.state];
  const { nodes, migration, warnings, causes } = report;
  // the table says of each node what the scheduler says of all
  const rest = nodes.length > 0 ? causes.filter(({ message }) => message !== report.scheduling) : causes;
  return [
    ...wrap(`${paint(BOLD, title)} ${paint(color, report.summary)}`, '', { ...screen, hidden: screen.isColored ? 17 : 0 }),
    ...(rest.length > 0 ? [...heading('Because'), ...rest.flatMap((cause) => causeLines(cause, screen))] : []),
    ...(nodes.length > 0 ? [...heading('Nodes'), ...nodeLines(nodes, screen, paint)] : []),
    ...(nodes.length > 0 && report.scheduling !== '' ? ['', ...wrap(`${INDENT}${report.scheduling}`, INDENT, screen)] : []),
    ...(migration
      ? [
          ...heading(migration.isPossible ? 'It can be migrated' : 'It cannot be migrated'),
          ...migration.causes.flatMap((cause) => causeLines(cause, screen)),
        ]
      : []),
    ...(warnings.length > 0
      ? [
          ...heading('Last warnings'),
          ...warnings.flatMap(({ age, about, reason, message }) =>
            wrap(`${INDENT}${age.padStart(5)}  ${about}: ${reason}: ${message}`, ' '.repeat(9), screen),
          ),
        ]
      : []),
  ].join('\n');
}

const causeLines = ({ about, reason, message }: Cause, screen: Screen): string[] =>
  wrap(`${INDENT}${about}: ${reason}: ${message}`, INDENT.repeat(2), screen);

function nodeLines(nodes: readonly NodeVerdict[], screen: Screen, paint: (code: string, text: string) => string): string[] {
  const widths = [
    Math.max(4, ...nodes.map(({ node }) => node.length)),
    Math.max(6, ...nodes.map(({ status }) => status.length)),
  ] as const;
  const row = (name: string, status: string): string => `${INDENT}${name.padEnd(widths[0])}  ${status.padEnd(widths[1])}  `;
  const margin = ' '.repeat(row('', '').length);
  return [
    paint(FAINT, `${row('NODE', 'STATUS')}WHY NOT`),
    ...nodes.flatMap(({ node, status, isPossible, reasons, details }) => {
      const start = row(node, status);
      if (isPossible) return [`${start}${paint(GREEN, 'can take it')}`];
      const lines = wrap(`${start}${reasons.join(', ')}`, margin, screen);
      const more = details.flatMap((detail) => wrap(`${margin}${detail}`, `${margin}${INDENT}`, screen));
      return [
        ...lines.map((line) => line.slice(0, margin.length) + paint(RED, line.slice(margin.length))),
        ...more.map((line) => line.slice(0, margin.length) + paint(FAINT, line.slice(margin.length))),
      ];
    }),
  ];
}

/** Breaks at spaces so that no line is longer than the screen; what follows the first line is indented. */
function wrap(text: string, indent: string, { columns, hidden = 0 }: Screen & { readonly hidden?: number }): string[] {
  const lines: string[] = [];
  let rest = text;
  let limit = columns + hidden;
  while (rest.length > limit) {
    // a break within the indentation would go on for ever
    const at = rest.lastIndexOf(' ', limit);
    const cut = at > indent.length && rest.slice(0, at).trim() !== '' ? at : rest.indexOf(' ', limit);
    if (cut < 0) break;
    lines.push(rest.slice(0, cut).trimEnd());
    rest = indent + rest.slice(cut).trimStart();
    limit = columns;
  }
  return [...lines, rest];
}
