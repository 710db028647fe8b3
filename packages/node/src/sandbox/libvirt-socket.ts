import { openBeneath } from '@slipway/hostapi';
import type { Sandbox } from '../contracts.ts';
import { type DomainEvent, LibvirtConnection } from '../libvirt/index.ts';
import type { HostPrograms } from './host-programs.ts';

const SESSION_URI = 'qemu:///session';
const FIRST_DELAY_MS = 4;
const MAX_DELAY_MS = 250;

/** Connects to the sandbox's daemon as soon as it listens. Rejects when aborted or when the sandbox has ended. */
export async function connectLibvirt(
  options: {
    readonly sandbox: Sandbox;
    readonly programs: HostPrograms;
    readonly onEvent: (event: DomainEvent) => void;
    readonly isAlive: () => boolean;
  },
  signal: AbortSignal,
): Promise<LibvirtConnection> {
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(delayMs * 1.2, MAX_DELAY_MS)) {
    signal.throwIfAborted();
    if (!options.isAlive()) throw new Error('The sandbox has ended');
    const connection = await tryConnect(options).catch(() => undefined);
    if (connection) return connection;
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

async function tryConnect({ sandbox, programs, onEvent }: Parameters<typeof connectLibvirt>[0]): Promise<LibvirtConnection> {
  const pinned = openBeneath(sandbox.dir, `run/libvirt/${programs.socketName}`);
  try {
    return await LibvirtConnection.open({ socketPath: pinned.path, uri: SESSION_URI, onEvent });
  } finally {
    pinned.close();
  }
}
