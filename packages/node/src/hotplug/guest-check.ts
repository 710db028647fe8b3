import { HotplugReason } from '@slipway/api';
import type { EventRecorder } from '@slipway/runtime';
import { asRecord, readReturn } from '../guest-agent/index.ts';
import type { LiveDisk, LiveDomain } from './live-domain.ts';
import type { GuestNow, SyncResult } from './sync-result.ts';

/** A device that was plugged. */
export interface PluggedDevice {
  readonly kind: 'disk' | 'interface';
  readonly name: string;
}

interface Waiting extends PluggedDevice {
  readonly sinceMs: number;
  /** Plugged after the domain was looked at. */
  isFresh: boolean;
  /** The guest was given up on, and people were told. */
  isTold: boolean;
}

/** What a guest says that it has. */
interface SeenDevices {
  /** Undefined: its agent does not tell. */
  readonly disks: number | undefined;
  readonly macs: ReadonlySet<string> | undefined;
}

const FIRST_LOOK_MS = 1_000;
const LATER_LOOK_MS = 60_000;
/** A guest that has the driver shows a device within this time. */
const PATIENCE_MS = 20_000;
const AGENT_TIMEOUT_SECONDS = 5;
/** More disks or interfaces than any guest here has. */
const MAX_DEVICES = 4096;

const keyOf = ({ kind, name }: PluggedDevice): string => `${kind}/${name}`;

/**
 * Asks a guest whether it has what was plugged into it, where its agent can tell. QEMU is content when the bus has the
 * device; a guest without the driver never shows it.
 */
export class GuestCheck {
  private readonly deps: { readonly events: EventRecorder; readonly nowMs: () => number };
  private readonly waiting = new Map<string, Waiting>();
  private nextMs = 0;

  constructor(deps: { readonly events: EventRecorder; readonly nowMs: () => number }) {
    this.deps = deps;
  }

  /** A device was plugged: the guest should show it soon. */
  expect(device: PluggedDevice): void {
    const nowMs = this.deps.nowMs();
    this.waiting.set(keyOf(device), { ...device, sinceMs: nowMs, isFresh: true, isTold: false });
    this.nextMs = nowMs + FIRST_LOOK_MS;
  }

  /** Whether there is anything to ask. */
  concerns(): boolean {
    return this.waiting.size > 0;
  }

  /** Asks when it is due; answers what the guest has not shown in time. */
  async sync(guest: GuestNow): Promise<SyncResult> {
    this.dropGone(guest.live);
    if (this.waiting.size > 0 && this.deps.nowMs() >= this.nextMs) await this.look(guest);
    const problems = [...this.waiting.values()].filter(({ isTold }) => isTold).map(problemOf);
    const retryInMs = this.waiting.size === 0 ? undefined : Math.max(0, this.nextMs - this.deps.nowMs());
    return { changes: [], problems, retryInMs, hasChanged: false };
  }

  private dropGone({ disks, interfaces }: LiveDomain): void {
    for (const [key, device] of this.waiting) {
      const devices = device.kind === 'disk' ? disks : interfaces;
      if (!device.isFresh && !devices.some(({ name }) => name === device.name)) this.waiting.delete(key);
      device.isFresh = false;
    }
  }

  private async look({ vmi, libvirt, domain, live }: GuestNow): Promise<void> {
    const ask = async (command: string): Promise<unknown> => {
      try {
        return readReturn(await libvirt.agentCommand(domain, JSON.stringify({ execute: command }), AGENT_TIMEOUT_SECONDS));
      } catch {
        return undefined; // no agent, or one that lacks the command: then nothing can be checked
      }
    };
    const asked = new Set([...this.waiting.values()].map(({ kind }) => kind));
    const seen: SeenDevices = {
      disks: asked.has('disk') ? countDisks(await ask('guest-get-disks')) : undefined,
      macs: asked.has('interface') ? macsOf(await ask('guest-network-get-interfaces')) : undefined,
    };
    const nowMs = this.deps.nowMs();
    let isPatient = false;
    for (const [key, device] of this.waiting) {
      if (isSeen(device, seen, live)) this.waiting.delete(key);
      else if (nowMs - device.sinceMs < PATIENCE_MS) isPatient = true;
      else if (!device.isTold) {
        device.isTold = true;
        this.deps.events.warning(vmi, HotplugReason.notSeenByGuest, problemOf(device));
      }
    }
    this.nextMs = nowMs + (isPatient ? 2 * FIRST_LOOK_MS : LATER_LOOK_MS);
  }
}

/** True also when the guest cannot tell. */
function isSeen({ kind, name }: PluggedDevice, seen: SeenDevices, live: LiveDomain): boolean {
  if (kind === 'disk') return seen.disks === undefined || seen.disks >= live.disks.filter(isHardDisk).length;
  const mac = live.interfaces.find((entry) => entry.name === name)?.mac.toLowerCase();
  return seen.macs === undefined || mac === undefined || seen.macs.has(mac);
}

const isHardDisk = ({ element }: LiveDisk): boolean => ['disk', 'lun'].includes(element.attributes['device'] ?? 'disk');

const problemOf = ({ kind, name }: PluggedDevice): string =>
  `The guest does not show ${kind} ${name}, which it was given: it lacks the driver or does not rescan its buses. ` +
  'It stays plugged; a restart of the VM shows it from the start';

/** Whole disks with a medium; undefined when the answer is no list. Exported for tests. */
export function countDisks(answer: unknown): number | undefined {
  if (!Array.isArray(answer)) return undefined;
  return answer.slice(0, MAX_DEVICES).filter((entry: unknown) => {
    const { partition, name } = asRecord(entry);
    return partition !== true && typeof name === 'string' && !VIRTUAL.test(name);
  }).length;
}

/** Block devices that the guest makes itself, and drives, which some guests do not list. */
const VIRTUAL = /\/(loop|ram|zram|dm-|md|nbd|fd|sr)\d/;

function macsOf(answer: unknown): ReadonlySet<string> | undefined {
  if (!Array.isArray(answer)) return undefined;
  return new Set(
    answer.slice(0, MAX_DEVICES).flatMap((entry: unknown) => {
      const mac = asRecord(entry)['hardware-address'];
      return typeof mac === 'string' ? [mac.toLowerCase()] : [];
    }),
  );
}
