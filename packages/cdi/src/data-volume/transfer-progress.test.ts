import type { Pod } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { progressText, transferProgress } from './transfer-progress.ts';

const MiB = 1024 ** 2;
const podOf = (progress: string): Pod => ({ metadata: { annotations: { 'slipway.dev/progress': progress } } }) as unknown as Pod;

describe('the progress of a transfer', () => {
  it.each([
    [
      'a download',
      { phase: 'Download', bytes: 512 * MiB, totalBytes: 1024 * MiB, bytesPerSecond: 80 * MiB, etaSeconds: 7 },
      'Received 512 MiB of 1 GiB, 80 MiB/s, 7 s left',
    ],
    ['a download without a length', { phase: 'Download', bytes: 3 * MiB }, 'Received 3 MiB'],
    ['a conversion', { phase: 'Convert', bytes: MiB, totalBytes: 4 * MiB }, 'Converted 1 MiB of 4 MiB'],
    [
      'a wait for the server',
      { phase: 'Download', bytes: MiB, problem: 'The server answered 503; trying again in 4 s' },
      'Received 1 MiB. The server answered 503; trying again in 4 s',
    ],
    ['minutes', { phase: 'Download', bytes: MiB, etaSeconds: 125 }, 'Received 1 MiB, 2 min left'],
    ['hours', { phase: 'Download', bytes: MiB, etaSeconds: 7500 }, 'Received 1 MiB, 2 h 5 min left'],
    ['nonsense', { phase: 'Evil', bytes: 'many', totalBytes: -1, problem: 7 }, ''],
  ])('tells %s', (_, line, text) => {
    expect(progressText(transferProgress(podOf(JSON.stringify(line))))).toBe(text);
  });

  it.each(['', 'null', '7', '{', '{"percent":null}', '{"percent":1e999}'])('takes nothing from %j', (text) => {
    expect(transferProgress(podOf(text))).toEqual({});
  });
});
