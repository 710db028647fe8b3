import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';

/** A process of the platform that is restarted when it dies; it outlives the command that started it. */
export interface SupervisedProcess {
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
  /** The whole environment of the process, nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** stdout and stderr are appended here. */
  readonly logFile: string;
  /** Unprivileged uid and gid; absent: stays root. Supplementary groups are dropped and no privilege can be regained. */
  readonly uid?: number;
}

export interface StartedSupervisor {
  /** Pid of the supervisor, leader of its own session: SIGTERM stops the process and then the supervisor. */
  readonly pid: number;
  /** Resolves with the first line the process writes to file descriptor 3; rejects when it ends without one. */
  readonly ready: Promise<string>;
  /** Stops waiting for readiness, so that the caller can exit. */
  detach(): void;
}

/**
 * A shell loop costs under 1 MiB, a second Node process ten. It restarts at once after a crash of a process that ran for
 * five seconds or more, else after a growing delay, and ends when the process ends with status 0.
 */
const SUPERVISOR = `
stop=; delay=0
trap 'stop=1; kill -TERM "$child" 2>/dev/null' TERM INT HUP
while :; do
  started=$(date +%s)
  "$@" </dev/null &
  child=$!
  [ -n "$stop" ] && kill -TERM "$child" 2>/dev/null
  wait "$child"; status=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done
  exec 3>&-
  [ -n "$stop" ] && exit 0
  [ "$status" -eq 0 ] && exit 0
  if [ $(( $(date +%s) - started )) -ge 5 ]; then delay=0; else delay=$(( delay < 8 ? delay * 2 + 1 : 10 )); fi
  echo "{\\"level\\":\\"error\\",\\"msg\\":\\"process ended, restarting\\",\\"status\\":$status,\\"delaySeconds\\":$delay}"
  [ "$delay" -gt 0 ] && { sleep "$delay" & wait $!; }
  [ -n "$stop" ] && exit 0
done
`;

const withoutPrivileges = (uid: number): string[] => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${uid}`,
  '--clear-groups',
  '--no-new-privs',
  '--inh-caps=-all',
  '--bounding-set=-all',
];

/** Starts the process detached. Throws when the log file cannot be opened or the shell cannot be started. */
export async function startSupervised(process: SupervisedProcess): Promise<StartedSupervisor> {
  const log = openSync(process.logFile, 'a', 0o640);
  try {
    const argv = [
      ...(process.uid === undefined ? [] : withoutPrivileges(process.uid)),
      'sh',
      '-c',
      SUPERVISOR,
      'sh',
      ...process.argv,
    ];
    const child = spawn(argv[0] ?? 'sh', argv.slice(1), {
      cwd: process.cwd,
      env: { ...process.env },
      detached: true,
      stdio: ['ignore', log, log, 'pipe'],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    const pipe = child.stdio[3] as Readable; // 'pipe' above makes it a stream
    child.unref();
    return { pid: child.pid ?? 0, ready: firstLine(pipe), detach: () => detach(child, pipe) };
  } finally {
    closeSync(log);
  }
}

function detach(child: ChildProcess, pipe: Readable): void {
  child.removeAllListeners();
  pipe.destroy();
}

function firstLine(pipe: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    pipe.setEncoding('utf8');
    pipe.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
    });
    pipe.on('close', () => reject(new Error('The process ended before it was ready')));
    pipe.on('error', reject);
  });
}
