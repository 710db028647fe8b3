import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { MEMORY_STATE_CLAIM } from '@slipway/api';
import type { EventRecorder } from '@slipway/runtime';
import { isHotpluggable } from '@slipway/virt';
import type { PodNetworkStatus, PreparedVolume, Sandbox, SavedState, VolumeManager } from '../contracts.ts';
import { DOMAIN_STATE, type DomainRef, type LibvirtConnection } from '../libvirt/index.ts';
import { adaptDomain } from './adapt-domain.ts';
import { isComplete } from './save-memory.ts';

/** What a resume does with the session of the guest. */
export interface ResumableSession {
  libvirt(): Promise<Pick<LibvirtConnection, 'savedXml' | 'resume' | 'state' | 'agentCommand'>>;
  domain(): Promise<DomainRef>;
  restore(name: string, xml: string, path: string): Promise<void>;
}

export interface ResumeDeps {
  readonly session: ResumableSession;
  readonly volumes: Pick<VolumeManager, 'savedState' | 'plug'>;
  readonly events: EventRecorder;
  readonly pod: Pod;
  readonly sandbox: Sandbox;
  readonly nowMs: number;
}

export interface ResumeParts {
  /** Name of the domain. */
  readonly name: string;
  readonly network: PodNetworkStatus;
  readonly prepared: readonly PreparedVolume[];
}

const claimOf = ({ metadata }: VirtualMachineInstance): string | undefined => metadata.annotations?.[MEMORY_STATE_CLAIM];

/**
 * Lets the guest go on where its memory was saved. False when there is no state, or none that is whole: then it has to
 * boot. Throws when the state is whole and cannot be loaded, and keeps it.
 */
export async function resumeGuest(
  deps: ResumeDeps,
  vmi: VirtualMachineInstance,
  parts: ResumeParts,
  signal: AbortSignal,
): Promise<boolean> {
  const state = await stateOf(deps, vmi, signal);
  if (state === undefined) return false;
  if (!(await isComplete(state.path))) {
    deps.events.warning(vmi, 'MemoryStateIncomplete', 'The memory of the guest was not saved completely: it boots');
    return false;
  }
  const libvirt = await deps.session.libvirt();
  const disks = [...parts.prepared, ...(await plugged(deps, vmi, signal))];
  const xml = adaptDomain(await libvirt.savedXml(state.path), {
    disks: new Map(disks.map(({ name, path, format }) => [name, { path, format }])),
    taps: new Map(parts.network.interfaces.flatMap(({ name, tapName }) => (tapName === undefined ? [] : [[name, tapName]]))),
  });
  await deps.session.restore(parts.name, xml, state.path);
  await goOn(deps, vmi, state);
  return true;
}

/** The agent was away while a guest was resumed: what was left of it is done now. */
export async function finishResume(deps: ResumeDeps, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<void> {
  const state = await stateOf(deps, vmi, signal);
  if (state !== undefined) await goOn(deps, vmi, state);
}

async function stateOf(
  { volumes, pod, sandbox }: ResumeDeps,
  vmi: VirtualMachineInstance,
  signal: AbortSignal,
): Promise<SavedState | undefined> {
  const claimName = claimOf(vmi);
  return claimName === undefined ? undefined : volumes.savedState(vmi, claimName, pod, sandbox, signal);
}

/** Disks that were plugged in are part of the saved guest from its first instruction. */
async function plugged(
  { volumes, pod, sandbox }: ResumeDeps,
  vmi: VirtualMachineInstance,
  signal: AbortSignal,
): Promise<readonly PreparedVolume[]> {
  const prepared: PreparedVolume[] = [];
  for (const volume of vmi.spec.volumes ?? [])
    if (isHotpluggable(volume)) prepared.push(await volumes.plug(vmi, volume, pod, sandbox, signal));
  return prepared;
}

/** Memory goes with the disks of one moment: it is used up before the guest may write again. */
async function goOn({ session, nowMs }: ResumeDeps, vmi: VirtualMachineInstance, state: SavedState): Promise<void> {
  await state.spend();
  if (vmi.spec.startStrategy === 'Paused') return;
  const [libvirt, domain] = [await session.libvirt(), await session.domain()];
  if ((await libvirt.state(domain)).state !== DOMAIN_STATE.paused) return;
  await libvirt.resume(domain);
  // the guest's clock stood still; without an agent it has to find out by itself
  const time = JSON.stringify({ execute: 'guest-set-time', arguments: { time: nowMs * 1_000_000 } });
  libvirt.agentCommand(domain, time, AGENT_SECONDS).catch(() => {});
}

const AGENT_SECONDS = 5;
