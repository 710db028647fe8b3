import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import type { ClaimSwaps } from '../contracts.ts';
import { calledOff, DiskMoves, type DiskMovesDeps, swapsOf, withClaim } from './disk-moves.ts';
import { liveDomain } from './live-domain.ts';
import type { GuestNow } from './sync-result.ts';

const NEW = '/volumes/new/disk.img';
const moving = { volumeName: 'root', sourcePVCInfo: { claimName: 'old' }, destinationPVCInfo: { claimName: 'new' } };
const cancelling = [{ type: 'VolumesChange', status: 'False', lastProbeTime: null, lastTransitionTime: null }];
const guest = (status: object = {}): VirtualMachineInstance =>
  ({
    metadata: { name: 'box', namespace: 'a' },
    spec: { domain: { devices: {} } },
    status: {
      migratedVolumes: [moving],
      volumeStatus: [{ name: 'root', target: 'vda', persistentVolumeClaimInfo: { claimName: 'old' } }],
      ...status,
    },
  }) as unknown as VirtualMachineInstance; // what the moves read of it
const domain = (file: string, mirror = '') =>
  liveDomain(
    `<domain><devices><disk type="file"><source file="${file}"/>${mirror}<target dev="vda" bus="virtio"/><alias name="ua-root"/></disk></devices></domain>`,
  );
const mirrorTo = (file: string, more = '') =>
  `<mirror type="file" file="${file}" job="copy"${more}><source file="${file}"/></mirror>`;

describe('DiskMoves', () => {
  function world(nowMs = () => 0) {
    const calls: string[] = [];
    const note =
      (name: string, answer?: unknown) =>
      (...args: unknown[]): Promise<unknown> => {
        calls.push([name, ...args.filter((arg) => typeof arg === 'string')].join(' '));
        return Promise.resolve(answer);
      };
    const swaps = {
      ...{ open: note('open', { path: NEW }), pathOf: note('pathOf', NEW), sizeOf: note('sizeOf', 5) },
      ...{
        restart: note('restart'),
        commit: note('commit'),
        revoke: note('revoke'),
        finish: note('finish'),
        abandon: note('abandon'),
      },
    } as unknown as ClaimSwaps;
    const libvirt = {
      ...{
        copyDisk: note('copy'),
        endDiskCopy: (_: object, target: string, { pivot }: { pivot: boolean }) => note(pivot ? 'pivot' : 'stop')(target),
      },
      ...{ resizeDisk: note('resize'), diskCopyProgress: note('progress', 42) },
    };
    const moves = new DiskMoves({
      ...{ volumes: { swaps }, pod: () => ({}), sandbox: { podUid: 'p' }, events: { normal: () => {} }, nowMs },
    } as unknown as DiskMovesDeps);
    const sync = (vmi: VirtualMachineInstance, live: ReturnType<typeof domain>) => {
      calls.length = 0;
      return moves.sync({ vmi, live, libvirt, domain: {} } as unknown as GuestNow, new AbortController().signal);
    };
    return { calls, sync, moves };
  }

  it('copies, tells how far it is, commits before it pivots, and reports', async () => {
    const { calls, sync, moves } = world();
    expect(moves.concerns(guest())).toBe(true);
    await sync(guest(), domain('/old'));
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['open', 'restart', 'copy']);
    const { changes } = await sync(guest(), domain('/old', mirrorTo(NEW)));
    expect(changes[0]?.(guest()).status?.volumeStatus?.[0]).toMatchObject({
      reason: 'VolumeMigrating',
      message: '40% copied into claim new',
    });
    await sync(guest(), domain('/old', mirrorTo(NEW, ' ready="yes"')));
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['open', 'commit', 'pivot']);
    const reported = await sync(guest(), domain(NEW));
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['open', 'sizeOf', 'resize', 'finish']);
    expect(swapsOf(reported.changes[0]?.(guest()) ?? guest())).toEqual([]);
  });

  it('says that a copy broke off, and begins it again later, not at once', async () => {
    let nowMs = 0;
    const { calls, sync } = world(() => nowMs);
    await sync(guest(), domain('/old'));
    const broken = await sync(guest(), domain('/old'));
    expect(broken.problems[0]).toContain('Volume root cannot move to claim new: the copy broke off');
    const waiting = await sync(guest(), domain('/old'));
    expect(calls).toEqual([]);
    expect(waiting).toMatchObject({ problems: broken.problems, changes: [] });
    nowMs += waiting.retryInMs ?? 0;
    await sync(guest(), domain('/old'));
    expect(calls.map((call) => call.split(' ')[0])).toContain('copy');
  });

  it('takes a commit back before it stops a copy that is called off, and answers when nothing is left', async () => {
    const { calls, sync } = world();
    const off = guest({ conditions: cancelling });
    const first = await sync(off, domain('/old', mirrorTo(NEW, ' ready="yes"')));
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['pathOf', 'revoke', 'stop']);
    expect(first.changes).toEqual([]);
    const second = await sync(off, domain('/old'));
    expect(calls.at(-1)).toBe('abandon p');
    const after = second.changes.reduce((now, change) => change(now), off);
    expect(after.status).not.toHaveProperty('migratedVolumes');
    expect(after.status?.conditions).toEqual([]);
  });

  it('reports what was called off too late', async () => {
    const { calls, sync } = world();
    const off = guest({ conditions: cancelling });
    const { changes } = await sync(off, domain(NEW));
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['pathOf', 'sizeOf', 'resize', 'finish', 'abandon']);
    const after = changes.reduce((now, change) => change(now), off);
    expect(after.status?.volumeStatus?.[0]?.persistentVolumeClaimInfo?.claimName).toBe('new');
    expect(after.status?.migratedVolumes).toEqual([moving]);
  });

  it('leaves a VMI alone whose moves were not called off', () => {
    expect(calledOff(guest())).toEqual(guest());
    expect(withClaim(guest(), { volume: 'root', from: 'old', to: 'new' }).status?.volumeStatus?.[0]).toMatchObject({
      persistentVolumeClaimInfo: { claimName: 'new' },
    });
  });
});
