import { isObject } from '../json.ts';

const WIDTH = 80;
/** Texts that a reader of YAML 1.1 would take for something else than text. */
const LOOKS_TYPED =
  /^(?:~|null|Null|NULL|true|True|TRUE|false|False|FALSE|y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF|<<|=|[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?)$/;
const STARTS_SPECIAL = /^(?:[,[\]{}#&*!|>'"%@`]|[-?:](?:\s|$)|\s|---)/;
const HAS_SPECIAL = /: |:$| #|\s$|\t/;
const UNPRINTABLE = /[^\t\n -~\u0085\u00a0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

/** A value as YAML in the layout of the reference implementation: sorted keys, lists at the level of their key. */
export function toYaml(value: unknown): string {
  const lines: string[] = [];
  if (isObject(value) && Object.keys(value).length > 0) mapLines(lines, value, 0);
  else if (Array.isArray(value) && value.length > 0) listLines(lines, value, 0);
  else lines.push(scalar(value, 0, 0));
  return `${lines.join('\n')}\n`;
}

const pad = (indent: number): string => ' '.repeat(indent);

function mapLines(lines: string[], map: Readonly<Record<string, unknown>>, indent: number): void {
  for (const key of Object.keys(map).sort()) {
    if (map[key] !== undefined) memberLines(lines, scalar(key, 0, Number.NEGATIVE_INFINITY), map[key], indent);
  }
}

function memberLines(lines: string[], key: string, value: unknown, indent: number): void {
  const head = `${pad(indent)}${key}:`;
  if (Array.isArray(value) && value.length > 0) {
    lines.push(head);
    listLines(lines, value, indent);
  } else if (isObject(value) && Object.keys(value).length > 0) {
    lines.push(head);
    mapLines(lines, value, indent + 2);
  } else lines.push(`${head} ${scalar(value, indent + 2, head.length + 1)}`);
}

function listLines(lines: string[], items: readonly unknown[], indent: number): void {
  for (const item of items) {
    const isNested = typeof item === 'object' && item !== null && Object.keys(item).length > 0;
    if (!isNested) {
      lines.push(`${pad(indent)}- ${scalar(item, indent + 2, indent + 2)}`);
      continue;
    }
    const first = lines.length;
    if (Array.isArray(item)) listLines(lines, item, indent + 2);
    else mapLines(lines, item as Record<string, unknown>, indent + 2); // an object, see above
    lines[first] = `${pad(indent)}- ${(lines[first] ?? '').trimStart()}`;
  }
}

/** `column` is where the scalar starts: long text is folded. */
function scalar(value: unknown, indent: number, column: number): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return '[]';
  if (typeof value === 'object') return '{}';
  return typeof value === 'string' ? text(value, indent, column) : String(value as number | boolean);
}

function text(value: string, indent: number, column: number): string {
  if (value === '' || LOOKS_TYPED.test(value) || UNPRINTABLE.test(value)) return JSON.stringify(value);
  if (value.includes('\n')) return block(value, indent);
  if (STARTS_SPECIAL.test(value) || HAS_SPECIAL.test(value)) {
    return fold(`'${value.replaceAll("'", "''")}'`, indent, column);
  }
  return fold(value, indent, column);
}

function block(value: string, indent: number): string {
  if (/[ \t]\n|[ \t]$|^\s/.test(value)) return JSON.stringify(value);
  const chomp = value.endsWith('\n\n') ? '+' : value.endsWith('\n') ? '' : '-';
  const lines = value.replace(/\n$/, '').split('\n');
  return [`|${chomp}`, ...lines.map((line) => (line === '' ? '' : `${pad(indent)}${line}`))].join('\n');
}

/** Breaks at the first single space after each full line. */
function fold(value: string, indent: number, column: number): string {
  if (column + value.length <= WIDTH) return value;
  let result = '';
  let start = 0;
  let at = column;
  for (let i = value.indexOf(' ', 1); i !== -1 && i < value.length - 1; i = value.indexOf(' ', i + 1)) {
    if (at + i - start <= WIDTH || value[i + 1] === ' ' || value[i - 1] === ' ') continue;
    result += `${value.slice(start, i)}\n${pad(indent)}`;
    start = i + 1;
    at = indent;
  }
  return result + value.slice(start);
}
