/** One measured promise, as `slipway bench --json` writes it. */
export interface Row {
  /** For example `S2`. */
  readonly promise: string;
  readonly name: string;
  /** Median over the runs, unless the name says otherwise. */
  readonly value: number;
  readonly unit: 's' | 'ms' | 'MiB' | '%' | 'count' | '/s' | 'MiB/s';
  /** The floor or peer measured in the same run; absent where the promise has none. */
  readonly floor?: number;
  readonly floorName?: string;
  /** value / floor. */
  readonly ratio?: number;
  /** In words, for example `≤ 0.6 s` or `≤ 2.5 × floor`; absent where nothing is promised. */
  readonly goal?: string;
  readonly met?: boolean;
  readonly runs: readonly number[];
}

export interface RowInput {
  readonly promise: string;
  readonly name: string;
  readonly unit: Row['unit'];
  readonly runs: readonly number[];
  readonly floor?: { readonly name: string; readonly runs: readonly number[] };
  /** Absent: the row informs. */
  readonly goal?: Goal;
}

/** A limit from above, or from below where more is better. */
export type Goal = { readonly of: 'value' | 'ratio' } & ({ readonly max: number } | { readonly min: number });

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new Error('A median needs at least one value');
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

const rounded = (value: number): number => Number(value.toPrecision(4));

export function makeRow({ promise, name, unit, runs, floor, goal }: RowInput): Row {
  const value = median(runs);
  const floorValue = floor && median(floor.runs);
  const ratio = floorValue === undefined ? undefined : value / floorValue;
  const judged = goal?.of === 'ratio' ? ratio : value;
  if (judged === undefined) throw new Error(`${promise} ${name}: a ratio goal needs a floor`);
  return {
    promise,
    name,
    unit,
    value: rounded(value),
    ...(floor && floorValue !== undefined && { floor: rounded(floorValue), floorName: floor.name }),
    ...(ratio !== undefined && { ratio: rounded(ratio) }),
    ...(goal && { goal: goalText(goal, unit), met: 'max' in goal ? judged <= goal.max : judged >= goal.min }),
    runs: runs.map(rounded),
  };
}

function goalText(goal: Goal, unit: Row['unit']): string {
  const limit = 'max' in goal ? `≤ ${goal.max}` : `≥ ${goal.min}`;
  return goal.of === 'ratio' ? `${limit} × floor` : `${limit} ${unit}`;
}

/** The rows as a table for people. */
export function formatRows(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.promise,
    row.name,
    `${row.value} ${row.unit}`,
    row.floor === undefined ? '–' : `${row.floor} ${row.unit} (${row.floorName})`,
    row.ratio === undefined ? '–' : row.ratio.toFixed(2),
    row.goal ?? '–',
    row.met === undefined ? '' : row.met ? 'met' : 'MISSED',
  ]);
  const table = [['promise', 'what', 'value', 'floor or peer, same run', 'ratio', 'goal', ''], ...cells];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0))) ?? [];
  return table
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
