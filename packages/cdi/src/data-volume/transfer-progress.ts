import type { Pod } from '@slipway/api';
import { isObject } from '@slipway/apimachinery';
import { Annotation } from '../constants.ts';
import { formatBytes } from '../mover/import-error.ts';
import type { ProgressLine } from '../mover/progress.ts';

/** What a worker says of its transfer: numbers that are none are left out. */
export function transferProgress(pod: Pod | undefined): Partial<ProgressLine> {
  const text = pod?.metadata.annotations?.[Annotation.progress];
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? checked(value) : {};
  } catch {
    return {}; // not ours
  }
}

function checked(value: Readonly<Record<string, unknown>>): Partial<ProgressLine> {
  const { phase, problem } = value;
  const amounts = (['percent', 'bytes', 'totalBytes', 'bytesPerSecond', 'etaSeconds'] as const).flatMap((name) => {
    const amount = value[name];
    return typeof amount === 'number' && amount >= 0 && Number.isFinite(amount) ? [[name, amount] as const] : [];
  });
  return {
    ...(phase === 'Download' || phase === 'Convert' || phase === 'Copy' ? { phase } : {}),
    ...Object.fromEntries(amounts),
    ...(typeof problem === 'string' && { problem: problem.slice(0, 256) }),
  };
}

const VERBS = { Download: 'Received', Convert: 'Converted', Copy: 'Copied' } as const;

/** For people: what has come, how fast, how long it will take, and what it waits for. */
export function progressText({ phase, bytes, totalBytes, bytesPerSecond, etaSeconds, problem }: Partial<ProgressLine>): string {
  if (phase === undefined || bytes === undefined) return '';
  const parts = [
    `${VERBS[phase]} ${formatBytes(bytes)}${totalBytes === undefined ? '' : ` of ${formatBytes(totalBytes)}`}`,
    ...(bytesPerSecond === undefined ? [] : [`${formatBytes(bytesPerSecond)}/s`]),
    ...(etaSeconds === undefined ? [] : [`${formatSeconds(etaSeconds)} left`]),
  ];
  return `${parts.join(', ')}${problem === undefined ? '' : `. ${problem}`}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
