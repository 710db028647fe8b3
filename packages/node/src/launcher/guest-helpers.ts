import { type CommandRunner, startSession } from '@slipway/hostapi';
import { join } from 'node:path';
import type { PreparedFiles } from '../contracts.ts';
import { enterSandbox, planCommand } from '../exec/index.ts';
import { INSIDE, LOG_DIRECTORY, type RunningSandbox } from '../sandbox/index.ts';

/** Directory of the sockets that virtiofsd opens for QEMU, as the sandbox sees it. */
export const SHARES_DIRECTORY = `${INSIDE}/run/fs`;

const LOGS = `${INSIDE}/${LOG_DIRECTORY}`;

/**
 * Serves one directory: arguments are the program, the socket, the directory and a log, which is in memory and small. An
 * earlier one, whose guest did not start, is ended. The user of the sandbox is root in a user namespace of its own and
 * nothing outside it, so that it can shut itself into the directory: what root of the guest writes belongs to the
 * sandbox's user.
 */
const SHARE_SCRIPT = `
set -u
mkdir -p "\${2%/*}"
if [ -f "$2.started" ]; then kill "$(cat "$2.started")" 2>/dev/null; fi
rm -f "$2"
unshare --user --map-root-user "$1" --socket-path="$2" -o source="$3" -o sandbox=chroot -o cache=auto --rlimit-nofile=0 > "$4" 2>&1 3>&- &
echo $! > "$2.started"
until [ -S "$2" ]; do kill -0 $! 2>/dev/null || { tail -c 500 "$4" >&2; exit 1; }; sleep 0.02; done
echo ready >&3
exec 3>&-
wait`;

/** Where libvirt keeps the state of TPMs moves to a directory that outlives the sandbox; libvirt has made it already. */
const STATE_SCRIPT = `
set -eu
mkdir -p "$1/swtpm" etc/libvirt/qemu
if [ ! -L etc/libvirt/qemu/swtpm ]; then
  rmdir etc/libvirt/qemu/swtpm 2>/dev/null || :
  ln -s "$1/swtpm" etc/libvirt/qemu/swtpm
fi`;

export interface GuestHelpersDeps {
  readonly runner: CommandRunner;
  readonly sandbox: RunningSandbox;
  /** Control groups of the sandbox. */
  readonly membershipFiles: readonly string[];
  /** Absent: not installed on this host. */
  readonly virtiofsd: string | undefined;
}

/** Starts what a guest needs beside QEMU before it starts. May be repeated while the guest does not run. */
export async function startGuestHelpers(
  { runner, sandbox, membershipFiles, virtiofsd }: GuestHelpersDeps,
  { shares, statePath }: PreparedFiles,
  signal: AbortSignal,
): Promise<void> {
  if (statePath !== undefined) {
    const link = ['env', `--chdir=${INSIDE}`, 'sh', '-c', STATE_SCRIPT, 'state', statePath];
    await runner.run(enterSandbox(sandbox, link), {}, signal);
  }
  if (shares.length > 0 && virtiofsd === undefined)
    throw new Error('This host has no virtiofsd, which shares directories with guests: install qemu-system-common or virtiofsd');
  for (const { name, path } of shares) {
    const command = [
      'sh',
      '-c',
      SHARE_SCRIPT,
      'share',
      virtiofsd ?? '',
      `${SHARES_DIRECTORY}/${name}.sock`,
      path,
      `${LOGS}/fs-${name}.log`,
    ];
    const argv = planCommand(sandbox, { command, tty: false, membershipFiles });
    await startSession({ argv, logFile: `${sandbox.dir}.log` }, signal).catch((cause: unknown) => {
      throw new Error(`Cannot share directory ${name}: see ${join(sandbox.dir)}.log`, { cause });
    });
  }
}
