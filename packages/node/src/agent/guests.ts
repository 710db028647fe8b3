import { isSameProcess } from '@slipway/hostapi';
import { DOMAIN_STATE, LIFECYCLE } from '../libvirt/index.ts';
import type { NodeConfig } from '../contracts.ts';
import { connectLibvirt, findHostPrograms, readSandboxRecords, type RunningSandbox, sandboxProcesses } from '../sandbox/index.ts';

/** A sandbox that runs on this node, whether or not its agent does. */
export interface Guest {
  readonly namespace: string;
  readonly name: string;
  readonly initPid: number;
  readonly libvirtdPid: number | undefined;
  readonly qemuPid: number | undefined;
}

const POWER_BUTTON_EVERY_MS = 5_000;

/** Guests of a node, from its state directory and the process table alone. */
export async function listGuests(config: Pick<NodeConfig, 'stateDir'>): Promise<readonly Guest[]> {
  const guests: Guest[] = [];
  for (const { init, guest } of await readSandboxRecords(config.stateDir)) {
    if (guest === undefined) continue; // it examines the host, or its pod is only being made
    const { libvirtdPid, qemuPids } = await sandboxProcesses(init.pid);
    guests.push({ ...guest, initPid: init.pid, libvirtdPid, qemuPid: qemuPids[0] });
  }
  return guests;
}

/** Shuts every guest of the node down, by force after `graceMs`; no agent may be running meanwhile. */
export async function stopGuests(config: Pick<NodeConfig, 'stateDir'>, graceMs: number, signal: AbortSignal): Promise<void> {
  const running = await readSandboxRecords(config.stateDir);
  await Promise.all(running.map((sandbox) => stopGuest(sandbox, graceMs, signal)));
}

async function stopGuest(sandbox: RunningSandbox, graceMs: number, signal: AbortSignal): Promise<void> {
  let onStopped = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    onStopped = resolve;
  });
  const libvirt = await connectLibvirt(
    {
      sandbox,
      programs: findHostPrograms(),
      isAlive: () => isSameProcess(sandbox.init),
      onEvent: (event) => event.type === 'lifecycle' && event.event === LIFECYCLE.stopped && onStopped(),
    },
    signal,
  );
  try {
    for (const domain of await libvirt.listDomains()) {
      if ((await libvirt.state(domain)).state === DOMAIN_STATE.shutoff) continue;
      let isOff = false;
      const off = stopped.then(() => (isOff = true));
      for (let waitedMs = 0; !isOff && waitedMs < graceMs; waitedMs += POWER_BUTTON_EVERY_MS) {
        await libvirt.shutdown(domain, 'acpi').catch(() => {}); // one that is just ending refuses
        await Promise.race([off, delay(Math.min(POWER_BUTTON_EVERY_MS, graceMs))]);
      }
      if (!isOff) await libvirt.destroy(domain);
    }
  } finally {
    libvirt.close();
  }
}

const delay = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
