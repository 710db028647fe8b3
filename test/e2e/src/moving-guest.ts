import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusReport } from '@slipway/daemon';
import type { GuestShell } from './guest-shell.ts';
import type { Platform } from './platform.ts';

export interface MovingVmi {
  metadata: { uid: string; labels?: Record<string, string> };
  status?: {
    phase?: string;
    nodeName?: string;
    interfaces?: { ipAddresses?: string[] }[];
    conditions?: { type: string; status: string; reason?: string; lastTransitionTime?: string | null }[];
    migrationState?: {
      migrationUid?: string;
      completed?: boolean;
      failed?: boolean;
      failureReason?: string;
      abortStatus?: string;
      mode?: string;
      sourceNode?: string;
      sourcePod?: string;
      targetNode?: string;
      targetPod?: string;
      startTimestamp?: string;
      endTimestamp?: string;
    };
  };
}

interface Migration {
  metadata: { uid: string };
  status?: { phase?: string };
}

const MIGRATION_MS = 240_000;
/** A question without an answer is asked again. */
const PATIENCE_MS = 5_000;
/** Bytes of one entry of the guest's log. */
const ENTRY_BYTES = 512;
const PAGE_BYTES = 4096;

/** Asks for a migration; its name. */
export async function requestMigration(platform: Platform, name: string, vmiName: string): Promise<void> {
  const metadata = { name, namespace: 'default' };
  await platform.apply({ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstanceMigration', metadata, spec: { vmiName } });
}

/** Resolves when the migration is over, with how it ended. */
export async function endOfMigration(platform: Platform, name: string): Promise<string> {
  const isFinal = ({ status }: Migration): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';
  return (await platform.until<Migration>(`vmim ${name}`, isFinal, MIGRATION_MS)).status?.phase ?? '';
}

/** Moves the guest to another node and returns its instance there. Throws when it does not get there. */
export async function move(platform: Platform, name: string, vmiName: string): Promise<MovingVmi> {
  await requestMigration(platform, name, vmiName);
  const phase = await endOfMigration(platform, name);
  const vmi = await platform.until<MovingVmi>(`vmi ${vmiName}`, () => true);
  if (phase !== 'Succeeded') throw new Error(`Migration ${name} ended ${phase}: ${JSON.stringify(vmi.status?.migrationState)}`);
  return vmi;
}

/**
 * Commands of the guest that write numbered entries to these devices, one after the other and for good, until told to stop.
 * `mark` stands before each number.
 */
export const startWriting = (devices: readonly string[], mark = ''): string => `
rm -f /tmp/stop /tmp/written
(
  n=0
  while [ ! -e /tmp/stop ]; do
    n=$((n+1))
    for device in ${devices.join(' ')}; do
      printf '%-${ENTRY_BYTES}s' "${mark}$n" | dd of=/dev/$device bs=${ENTRY_BYTES} seek=$n conv=notrunc,fsync 2>/dev/null
    done
    echo $n > /tmp/counter
  done
  mv /tmp/counter /tmp/written
) > /dev/null 2>&1 &
`;

/** Entries 1 to `count`, by pages where that is possible: a read for each is long for a guest that is emulated. */
function readEntries(device: string, count: number): string {
  const ofPage = PAGE_BYTES / ENTRY_BYTES;
  const head = Math.min(count, ofPage - 1);
  const pages = Math.floor((count - head) / ofPage);
  const read = (bytes: number, skip: number, blocks: number): string =>
    blocks === 0 ? '' : `dd if=/dev/${device} bs=${bytes} skip=${skip} count=${blocks};`;
  const done = head + pages * ofPage;
  return `${read(ENTRY_BYTES, 1, head)} ${read(PAGE_BYTES, 1, pages)} ${read(ENTRY_BYTES, 1 + done, count - done)}`;
}

/** Ends the writing; returns how many entries each device has and throws when one of them is not what was written. */
export async function checkWritten(shell: GuestShell, devices: readonly string[], mark = ''): Promise<number> {
  const written = await shell.run('touch /tmp/stop; while [ ! -e /tmp/written ]; do usleep 20000; done; cat /tmp/written');
  const entries = Number(written);
  if (!Number.isInteger(entries) || entries < 1) throw new Error(`The guest wrote ${written}`);
  const expected = createHash('md5');
  for (let index = 1; index <= entries; index++) expected.update(`${mark}${index}`.padEnd(ENTRY_BYTES));
  const sum = expected.digest('hex');
  for (const device of devices) {
    const command = `echo 3 > /proc/sys/vm/drop_caches; (${readEntries(device, entries)}) 2>/dev/null | md5sum`;
    const found = (await shell.run(command)).split(' ')[0];
    if (found !== sum) throw new Error(`/dev/${device} does not hold the ${entries} entries that were written: ${found}`);
  }
  return entries;
}

/** Entries with this mark that a device holds without a gap, as a guest finds them that was not the one to write them. */
export async function countWritten(shell: GuestShell, device: string, mark: string): Promise<number> {
  const command = `dd if=/dev/${device} bs=${ENTRY_BYTES} skip=1 count=8192 2>/dev/null | tr -d '\\0' | tr -s ' ' '\\n' | grep '^${mark}'`;
  const found = (await shell.run(command)).split('\n');
  const gap = found.findIndex((entry, index) => entry !== `${mark}${index + 1}`);
  return gap < 0 ? found.length : gap;
}

/** Asks the guest again and again; `stop` returns its silences in milliseconds, the longest first. */
export function watchAnswers(shell: GuestShell): { stop(): Promise<readonly number[]> } {
  let isStopped = false;
  const gaps: number[] = [];
  const watching = (async () => {
    let last = performance.now();
    while (!isStopped) {
      const asked = shell.run('echo here').then(
        (text) => text.startsWith('here'),
        () => false,
      );
      const answered = await Promise.race([asked, new Promise<false>((resolve) => setTimeout(resolve, PATIENCE_MS, false))]);
      if (!answered) continue;
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
  })();
  return {
    stop: async () => {
      isStopped = true;
      await watching;
      return gaps.sort((left, right) => right - left);
    },
  };
}

/** Guests that run, by the name of their VMI: the nodes on which each has a QEMU. */
export async function nodesWithGuest(platform: Platform, name: string): Promise<readonly string[]> {
  const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
  return report.guests.filter((guest) => guest.name === name && guest.qemuPid !== undefined).map(({ node }) => node);
}

/** Process of a node's agent. */
export async function agentPid(platform: Platform, node: string): Promise<number> {
  const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
  const pid = report.nodes.find(({ name }) => name === node)?.pid;
  if (pid === undefined) throw new Error(`Node ${node} has no agent`);
  return pid;
}

export interface InstanceFile {
  readonly id: string;
  readonly link: { readonly hostV4: string };
  readonly nodes: readonly { readonly name: string; readonly hostPrefix: string; readonly linkIndex: number }[];
}

export const instanceFile = (platform: Platform): InstanceFile =>
  JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8')) as InstanceFile;
