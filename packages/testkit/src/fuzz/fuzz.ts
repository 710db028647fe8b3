import { type Random, seededRandom } from './random.ts';

export interface FuzzTarget<T> {
  readonly name: string;
  /** Inputs of a short run, as in CI. */
  readonly inputs: number;
  readonly make: (random: Random) => T;
  /** Throws for an answer that must not be. Refusing an input in the expected way is no failure. */
  readonly run: (input: T) => unknown;
  /** How an input is shown when it failed. */
  readonly show?: (input: T) => string;
}

/** No single input may keep the event loop for longer. */
const MAX_STALL_MS = 50;
/** A slow input is tried again: the machine may have been busy. */
const RETRIES = 5;
const MAX_SHOWN = 4000;

/** Different failures that one run reports. */
const MAX_FAILURES = 8;

/**
 * Runs a target with inputs made from a seed. SLIPWAY_FUZZ_INPUTS sets their number for every target (ten million for a
 * long run), SLIPWAY_FUZZ_SEED another sequence. Rejects with the inputs that failed and the seeds that make them again.
 */
export async function fuzz<T>(target: FuzzTarget<T>): Promise<void> {
  const { name, inputs, make, show = defaultShow } = target;
  const count = Number(process.env['SLIPWAY_FUZZ_INPUTS'] ?? inputs);
  const firstSeed = Number(process.env['SLIPWAY_FUZZ_SEED'] ?? 1);
  const failures = new Map<string, string>();
  for (let index = 0; index < count && failures.size < MAX_FAILURES; index++) {
    const input = make(seededRandom(Math.imul(firstSeed + index, 0x9e3779b1)));
    const failure = await failureOf(target, input);
    if (failure !== undefined) {
      const again = `SLIPWAY_FUZZ_SEED=${firstSeed + index} SLIPWAY_FUZZ_INPUTS=1`;
      failures.set(placeOf(failure), `${name} (${again})\n${failure}\n${show(input).slice(0, MAX_SHOWN)}`);
    }
    if (index % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (failures.size > 0) throw new Error([...failures.values()].join('\n\n'));
}

async function failureOf<T>({ run }: FuzzTarget<T>, input: T): Promise<string | undefined> {
  try {
    const busyMs = await attempt(run, input);
    const isSlow = busyMs > MAX_STALL_MS && (await fastest(run, input)) > MAX_STALL_MS;
    return isSlow ? `keeps the event loop for ${busyMs} ms` : undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

/** Failures with the same lines come from the same place. */
const placeOf = (failure: string): string => failure.match(/\S*packages\/(?!testkit)\S+:\d+:\d+/)?.[0] ?? failure.slice(0, 80);

/** Processor time, so that neighbours on the machine do not count. */
async function attempt<T>(run: (input: T) => unknown, input: T): Promise<number> {
  const before = process.cpuUsage();
  await run(input);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

async function fastest<T>(run: (input: T) => unknown, input: T): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let retry = 0; retry < RETRIES; retry++) best = Math.min(best, await attempt(run, input));
  return best;
}

function defaultShow(input: unknown): string {
  if (input instanceof Uint8Array) return Buffer.from(input).toString('hex');
  return typeof input === 'string' ? JSON.stringify(input) : (JSON.stringify(input) ?? String(input));
}
