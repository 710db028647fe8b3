import type { StatusReport } from '@slipway/daemon';
import type { Platform } from './platform.ts';

/** Process id of the QEMU of a guest, by the name of its VMI. */
export async function guestPid(platform: Platform, name: string): Promise<number> {
  const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
  const pid = report.guests.find((guest) => guest.name === name)?.qemuPid;
  if (pid === undefined) throw new Error(`No guest ${name} in ${JSON.stringify(report.guests)}`);
  return pid;
}
