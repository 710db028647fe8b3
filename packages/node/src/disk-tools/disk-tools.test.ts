import { execFileSync } from 'node:child_process';
import { type Pod, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { silentLogger, systemClock } from '@slipway/runtime';
import { describe, expect, it } from 'vitest';
import { VolumeError } from '../volumes/index.ts';
import { DiskToolsRunner } from './disk-tools-runner.ts';
import { shellCommand } from './shell-command.ts';

const POD: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'libguestfs-tools-data', namespace: 'default', uid: 'u1' },
  spec: {
    containers: [{ name: 'libguestfs', image: 'slipway/libguestfs-tools' }],
    volumes: [{ name: 'volume', persistentVolumeClaim: { claimName: 'data' } }],
  },
};

/** A runner whose claims are refused `refusals` times; resolves `status` with each phase it reports. */
function world(refusals: number) {
  const phases: string[] = [];
  const done: string[] = [];
  let left = refusals;
  let running = (): void => {};
  const isRunning = new Promise<void>((resolve) => (running = resolve));
  const client = {
    patch: async (kind: typeof PodKind, _key: object, { status }: { status: NonNullable<Pod['status']> }) => {
      const waiting = status.containerStatuses?.[0]?.state?.waiting;
      phases.push(`${kind.kind} ${status.phase}${waiting === undefined ? '' : ` ${waiting.reason}`}`);
      if (status.phase === 'Running') running();
    },
    delete: async () => void done.push('deleted'),
  } as unknown as Client; // only what the runner uses
  const sandbox = { podUid: 'u1', uid: 1234, netns: 'n', dir: '/d', init: { pid: 1, startTicks: 1 } };
  const runner = new DiskToolsRunner({
    client,
    sandboxes: {
      find: async () => undefined,
      create: async () => sandbox,
      destroy: async () => void done.push('sandbox'),
    },
    claims: {
      attach: async (_pod, uid) => {
        if (left-- > 0) throw new VolumeError('VolumeInUse', 'another pod has it');
        return [{ claim: 'data', path: `/volumes/${uid}/disk.img`, format: 'raw' }];
      },
      detach: async () => void done.push('disks'),
    },
    clock: { ...systemClock, setTimer: (_ms, run) => systemClock.setTimer(0, run) },
    log: silentLogger,
  });
  return { runner, phases, done, isRunning };
}

describe('pods with tools for disk images', () => {
  it('run when the disk is theirs, and give everything back', async () => {
    const { runner, phases, done, isRunning } = world(2);
    await expect(runner.commandOf(POD)).rejects.toThrow('the pod is not running');
    const { signal } = new AbortController();
    await runner.sync(POD, signal);
    await isRunning;
    expect(phases).toEqual(['Pod Pending VolumeInUse', 'Pod Pending VolumeInUse', 'Pod Running']);
    expect((await runner.commandOf(POD)).join(' ')).toContain("ln -sf '/volumes/1234/disk.img' disk.img");
    await runner.terminate(POD, signal);
    expect(done).toEqual(['sandbox', 'disks', 'deleted']);
    await expect(runner.commandOf(POD)).rejects.toThrow('the pod is not running');
  });

  it('begin with what is there and what is not', () => {
    const [, , script = ''] = shellCommand([{ path: "/volumes/it's/disk.img" }, { path: '/b' }], false);
    // as the sandbox would run it, in a directory of our own and without the shell at the end
    const harmless = script
      .replaceAll('/tmp/disk', '$D')
      .replace('cd /disk', 'cd $D')
      .replace('exec sh -i', 'readlink disk.img disk-1.img');
    const out = execFileSync('sh', ['-c', `D=$(mktemp -d); ${harmless}; rm -r $D`]).toString();
    expect(out).toContain('install the Debian package libguestfs-tools on the node');
    expect(out).toContain("/volumes/it's/disk.img\n/b\n");
    expect(shellCommand([], true)[2]).toContain('guestfish -a disk.img -i');
  });
});
