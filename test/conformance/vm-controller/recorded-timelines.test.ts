import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { atApiLevel, differences, type RecordedCase, timelineOf } from './recorded.ts';
import { play } from './timeline.ts';

/** A directory with recorded cases; they are no part of this repository. */
const directory = process.env['SLIPWAY_VM_TIMELINES'];
const files = directory === undefined ? [] : readdirSync(directory).filter((name) => name.endsWith('.json'));

describe.skipIf(directory === undefined)('recorded timelines of virtual machines', () => {
  it.each(files)('%s', async (file) => {
    const recorded = JSON.parse(readFileSync(join(directory ?? '', file), 'utf8')) as RecordedCase; // its own form
    expect(differences(atApiLevel(recorded), await play(timelineOf(recorded)))).toEqual([]);
  });
});
