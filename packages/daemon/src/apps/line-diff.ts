const CONTEXT = 3;
/** Texts whose lines give more pairs than this are shown as replaced. */
const MAX_PAIRS = 16_000_000;

interface Line {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/** What differs between two texts, as `diff -u` shows it without the names; empty when nothing does. Pure. */
export function lineDiff(before: string, after: string): string {
  if (before === after) return '';
  const [a, b] = [linesOf(before), linesOf(after)];
  const lines = compareLines(a, b);
  const shown = lines.map((_, index) =>
    lines.slice(Math.max(0, index - CONTEXT), index + CONTEXT + 1).some(({ mark }) => mark !== ' '),
  );
  const output: string[] = [];
  const at = { old: 0, new: 0 };
  for (const [index, { mark, text }] of lines.entries()) {
    if (shown[index] && !shown[index - 1]) output.push(header(lines, shown, index, at));
    if (shown[index]) output.push(`${mark}${text}`);
    if (mark !== '+') at.old++;
    if (mark !== '-') at.new++;
  }
  return `${output.join('\n')}\n`;
}

const linesOf = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

function header(lines: readonly Line[], shown: readonly boolean[], from: number, at: { old: number; new: number }): string {
  let end = from;
  while (shown[end]) end++;
  const hunk = lines.slice(from, end);
  const [olds, news] = [hunk.filter(({ mark }) => mark !== '+').length, hunk.filter(({ mark }) => mark !== '-').length];
  const range = (start: number, count: number): string => `${count === 0 ? start : start + 1}${count === 1 ? '' : `,${count}`}`;
  return `@@ -${range(at.old, olds)} +${range(at.new, news)} @@`;
}

/** The longest common subsequence between what both begin and end with. */
function compareLines(a: readonly string[], b: readonly string[]): Line[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let tail = 0;
  while (tail < a.length - start && tail < b.length - start && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const same = (lines: readonly string[]): Line[] => lines.map((text) => ({ mark: ' ', text }));
  return [
    ...same(a.slice(0, start)),
    ...middle(a.slice(start, a.length - tail), b.slice(start, b.length - tail)),
    ...same(a.slice(a.length - tail)),
  ];
}

function middle(a: readonly string[], b: readonly string[]): Line[] {
  const removed = (lines: readonly string[]): Line[] => lines.map((text) => ({ mark: '-', text }));
  const added = (lines: readonly string[]): Line[] => lines.map((text) => ({ mark: '+', text }));
  if (a.length * b.length > MAX_PAIRS) return [...removed(a), ...added(b)];
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  const commonAt = (i: number, j: number): number => common[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] = a[i] === b[j] ? commonAt(i + 1, j + 1) + 1 : Math.max(commonAt(i + 1, j), commonAt(i, j + 1));
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push({ mark: ' ', text: a[i] ?? '' });
      i++;
      j++;
    } else if (commonAt(i + 1, j) >= commonAt(i, j + 1)) lines.push(...removed(a.slice(i, ++i)));
    else lines.push(...added(b.slice(j, ++j)));
  }
  return [...lines, ...removed(a.slice(i)), ...added(b.slice(j))];
}
