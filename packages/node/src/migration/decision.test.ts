import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@slipway/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OfferedDisk } from '../contracts.ts';
import { DOMAIN_STATE, SHUTOFF_MIGRATED } from '../libvirt/index.ts';
import type { MigrationDeps, MovableGuest } from './contracts.ts';
import { Decision } from './decision.ts';
import { readMigrationRecord, writeAgreement, writeGiven } from './migration-record.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipmove-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const trace = { note: () => {} };
const target = { node: 'b', podUid: 'two', link: ['10.0.0.2'] };
const disk = (transfer: OfferedDisk['transfer']): OfferedDisk => ({ name: 'root', transfer, virtualSizeBytes: 1 });

interface World {
  /** State and reason of the domain; absent: there is none. */
  readonly domain?: readonly [number, number];
  readonly paused?: boolean;
  /** How often libvirt says that a job runs. */
  jobs?: number;
  /** How often killing fails. */
  killFailures?: number;
  /** The guest has died, and its daemon with it. */
  readonly hasDied?: boolean;
}

/** A guest whose libvirt is in this state, and what was asked of everybody. */
function world(options: World) {
  const calls: string[] = [];
  const libvirt = {
    listDomains: async () => (options.domain ? [{ name: 'default_box', uuid: Buffer.alloc(16), id: 1 }] : []),
    state: async () => ({ state: options.domain?.[0], reason: options.domain?.[1] }),
    jobStats: async () => new Map((options.jobs ?? 0) > 0 ? [['data_remaining', 1]] : []),
    abortJob: async () => {
      options.jobs = (options.jobs ?? 1) - 1;
      calls.push('abort');
    },
  };
  const sandbox = { dir, podUid: 'one' };
  const guest = {
    ...{ name: 'default_box', sandbox, clock: systemClock, random: () => 0, log: { warn: () => {} } },
    vmi: () => ({
      status: { conditions: options.paused ? [{ type: 'Paused', status: 'True', reason: 'PausedByUser' }] : [] },
    }),
    libvirt: async () => {
      if (options.hasDied) throw new Error('The sandbox has ended');
      return libvirt;
    },
    killGuest: async () => {
      if ((options.killFailures ?? 0) > 0) {
        options.killFailures = (options.killFailures ?? 0) - 1;
        throw new Error('it does not end');
      }
      calls.push(`kill, mark ${(await readMigrationRecord(sandbox as never))?.isGiven}`);
    },
  } as unknown as MovableGuest; // what a decision looks at
  const network = { handOver: async () => void calls.push('addresses') };
  const deps = { network, volumes: { handOver: async () => void calls.push('hand over') } } as unknown as MigrationDeps; // likewise
  return {
    calls,
    decision: new Decision({ deps, guest, migration: 'm', trace }),
    again: () => new Decision({ deps, guest, migration: 'm', trace }),
  };
}

describe('the decision who has a guest', () => {
  it('is on the disk before the guest is killed, and the guest is dead before anybody hears of it', async () => {
    const { calls, decision } = world({ domain: [DOMAIN_STATE.paused, 2] });
    await decision.agree({ target, disks: [disk('shared')] });
    decision.give();
    expect(await decision.made).toBe('given');
    expect(calls).toEqual(['kill, mark true', 'addresses', 'hand over']);
  });

  it('is made once', async () => {
    const { decision } = world({ domain: [DOMAIN_STATE.running, 1] });
    await decision.agree({ target, disks: [] });
    decision.keep('too slow');
    decision.give();
    expect(await decision.made).toBe('kept');
    expect(decision.reason).toBe('too slow');
    expect(await decision.recall()).toBe(false);
  });

  it('waits for a guest that does not end at once', async () => {
    const { calls, decision } = world({ domain: [DOMAIN_STATE.paused, 2], killFailures: 2 });
    await decision.agree({ target, disks: [] });
    decision.give();
    expect(await decision.made).toBe('given');
    expect(calls[0]).toBe('kill, mark true');
  });

  it.each([true, false])('remembers whether the guest was stopped by somebody: %s', async (paused) => {
    const { decision, again } = world({ domain: [DOMAIN_STATE.paused, 2], paused });
    await decision.agree({ target, disks: [] });
    decision.give();
    await decision.made;
    const next = again();
    expect(await next.recall()).toBe(true);
    expect(next.agreed).toMatchObject({ isPaused: paused, target });
  });

  it.each([
    ['kept, when the guest runs', [DOMAIN_STATE.running, 1], 'kept'],
    ['kept, when the guest has shut down', [DOMAIN_STATE.shutoff, 1], 'kept'],
    ['given, when libvirt has ended it as moved', [DOMAIN_STATE.shutoff, SHUTOFF_MIGRATED], 'given'],
  ] as const)('of a job that nobody watched is %s', async (_, domain, verdict) => {
    const { decision } = world({ domain });
    await decision.agree({ target, disks: [] });
    await decision.settle('the agent was away', false);
    expect(await decision.made).toBe(verdict);
  });

  it('is known when the guest has died after it was given', async () => {
    const { calls, decision } = world({ hasDied: true });
    await decision.agree({ target, disks: [] });
    decision.give();
    await decision.settle('the job broke off', false);
    expect(await decision.made).toBe('given');
    expect(calls).toContain('hand over');
  });

  it('ends a job that still runs before it keeps the guest', async () => {
    const { calls, decision } = world({ domain: [DOMAIN_STATE.running, 1], jobs: 2 });
    await decision.settle('the agent was away', true);
    expect(await decision.made).toBe('kept');
    expect(calls).toEqual(['abort', 'abort']);
    expect(decision.isAborted).toBe(true);
  });

  it('of another migration is no decision of this one', async () => {
    const { decision } = world({ domain: [DOMAIN_STATE.running, 1] });
    await decision.agree({ target, disks: [] });
    const other = new Decision({
      ...{ deps: {} as never, migration: 'other', trace },
      guest: { sandbox: { dir } } as never,
    });
    expect(await other.recall()).toBe(false);
  });
});

describe('the record of a migration', () => {
  const path = () => join(dir, 'migration.json');
  const agreement = { migration: 'm', target, disks: [disk('copied')] };
  const sandbox = () => ({ dir }) as never; // all that it looks at

  it.each([true, false])('gets its mark in place, in the sector that it has already; paused: %s', async (isPaused) => {
    await writeAgreement(sandbox(), agreement);
    const before = statSync(path());
    expect(await readMigrationRecord(sandbox())).toEqual({ ...agreement, isGiven: false, isPaused: false });
    const given = { ...agreement, isGiven: true, isPaused };
    for (let again = 0; again < 2; again++) {
      await writeGiven(sandbox(), given);
      expect(await readMigrationRecord(sandbox())).toEqual(given);
    }
    expect(statSync(path())).toMatchObject({ ino: before.ino, size: before.size });
    expect(readFileSync(path(), 'utf8').indexOf('given')).toBeLessThan(100);
  });

  it.each([true, false])('of an earlier agent is read, and gets its mark; given already: %s', async (isGiven) => {
    writeFileSync(path(), JSON.stringify({ ...agreement, isGiven, isPaused: false }));
    const found = await readMigrationRecord(sandbox());
    expect(found).toEqual({ ...agreement, isGiven, isPaused: false });
    await writeGiven(sandbox(), { ...agreement, isPaused: false });
    expect(await readMigrationRecord(sandbox())).toEqual({ ...agreement, isGiven: true, isPaused: false });
  });

  it('with another decision than those is an error', async () => {
    writeFileSync(path(), JSON.stringify({ ...agreement, decision: 'who knows' }));
    await expect(readMigrationRecord(sandbox())).rejects.toThrow('no decision');
  });
});
