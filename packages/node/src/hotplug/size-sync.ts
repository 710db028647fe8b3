import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { HotplugReason, VmiCondition } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';
import type { EventRecorder } from '@slipway/runtime';
import { binaryQuantity, el, renderXml } from '@slipway/virt';
import { bringOnline } from './guest-units.ts';
import { Patience } from './patience.ts';
import { type MemoryGoal, memoryGoal, type VcpuGoal, vcpuGoal } from './plan-sizes.ts';
import type { GuestNow, InstanceChange, SyncResult } from './sync-result.ts';
import { asElement } from './write-xml.ts';

export interface SizeSyncDeps {
  readonly events: EventRecorder;
  readonly nowMs: () => number;
  /** Lets the sandbox use this much more than its pod asked for at the start. */
  readonly allowMemory: (extraBytes: number) => Promise<void>;
}

const VCPUS = 'vcpus';
const MEMORY = 'memory';

/** Taking back memory means moving what is in it. */
const MEMORY_PATIENCE_MS = 60_000;
const ONLINE_PATIENCE_MS = 20_000;
const ONLINE_POLL_MS = 100;

const NOTHING: SyncResult = { changes: [], problems: [], retryInMs: undefined, hasChanged: false };

/** Gives a running guest more vCPUs, and more or less memory. */
export class SizeSync {
  private readonly deps: SizeSyncDeps;
  private readonly patience: Patience;
  /** Since when the guest has vCPUs that it does not use. */
  private vcpusSinceMs: number | undefined;

  constructor(deps: SizeSyncDeps) {
    this.deps = deps;
    this.patience = new Patience(deps.nowMs, MEMORY_PATIENCE_MS);
  }

  async syncVcpus(guest: GuestNow, signal: AbortSignal): Promise<SyncResult> {
    const goal = vcpuGoal(guest.vmi, guest.live);
    const begun = this.begun(guest.vmi, VmiCondition.hotVcpuChange);
    if (begun !== undefined) return begun;
    if (!this.patience.isDue(VCPUS)) return this.waiting();
    try {
      if (goal.current > goal.wanted) return this.vcpusFailed(guest.vmi, shrinkProblem(goal));
      if (goal.current < goal.wanted) await guest.libvirt.setVcpus(guest.domain, goal.wanted);
      const problem = await vcpuProblem(guest, goal);
      if (problem !== undefined) return this.vcpusPending(guest.vmi, problem);
    } catch (error) {
      signal.throwIfAborted();
      return this.vcpusFailed(guest.vmi, `Cannot give the guest ${goal.wanted} vCPUs: ${textOf(error)}`);
    }
    this.patience.forget(VCPUS);
    this.vcpusSinceMs = undefined;
    this.deps.events.normal(guest.vmi, 'VCPUsPlugged', `The guest has ${goal.wanted} vCPUs`);
    const done: InstanceChange = (vmi) => ({
      ...vmi,
      status: { ...without(vmi, VmiCondition.hotVcpuChange).status, currentCPUTopology: { ...goal.topology } },
    });
    return { ...NOTHING, changes: [done] };
  }

  async syncMemory(guest: GuestNow, signal: AbortSignal): Promise<SyncResult> {
    const goal = memoryGoal(guest.vmi, guest.live);
    if (goal === undefined) return NOTHING;
    const begun = this.begun(guest.vmi, VmiCondition.hotMemoryChange);
    if (begun !== undefined) return begun;
    try {
      if (goal.requestedBytes !== goal.wantedBytes) return await this.request(guest, goal);
      // a guest may take more only after what it has is in use
      await bringOnline(guest.libvirt, guest.domain, 'memory');
    } catch (error) {
      signal.throwIfAborted();
      return this.memoryFailed(guest.vmi, goal, `Cannot change the memory of the guest: ${textOf(error)}`);
    }
    if (goal.currentBytes === goal.wantedBytes) return this.memoryDone(guest.vmi, goal);
    if (this.patience.verdict(MEMORY) === undefined) return this.waiting();
    return this.takeBack(guest, goal);
  }

  /** The first look only says that a change is under way; the next one does it. */
  private begun(vmi: VirtualMachineInstance, type: string): SyncResult | undefined {
    if (vmi.status?.conditions?.some((condition) => condition.type === type)) return undefined;
    return { ...NOTHING, changes: [(now) => this.withCondition(now, { type, status: 'True' })], hasChanged: true };
  }

  private waiting(): SyncResult {
    return { ...NOTHING, retryInMs: this.patience.nextInMs() };
  }

  /** A guest needs a moment to see what it was given. */
  private vcpusPending(vmi: VirtualMachineInstance, problem: string): SyncResult {
    this.vcpusSinceMs ??= this.deps.nowMs();
    if (this.deps.nowMs() - this.vcpusSinceMs < ONLINE_PATIENCE_MS) return { ...NOTHING, retryInMs: ONLINE_POLL_MS };
    return this.vcpusFailed(vmi, problem);
  }

  private vcpusFailed(vmi: VirtualMachineInstance, message: string): SyncResult {
    this.patience.failed(VCPUS);
    const isNews = conditionMessage(vmi, VmiCondition.hotVcpuChange) !== message;
    if (isNews) this.deps.events.warning(vmi, HotplugReason.vcpuChangeFailed, message);
    const text = { type: VmiCondition.hotVcpuChange, status: 'False', reason: HotplugReason.vcpuChangeFailed, message } as const;
    return { ...this.waiting(), problems: [message], changes: isNews ? [(now) => this.withCondition(now, text)] : [] };
  }

  private async request({ libvirt, domain, live }: GuestNow, goal: MemoryGoal): Promise<SyncResult> {
    await this.deps.allowMemory(goal.wantedBytes);
    const [device] = live.memory;
    if (device === undefined) await libvirt.attachDevice(domain, renderXml(memoryElement(goal)));
    else await libvirt.updateDevice(domain, renderXml(withRequest(asElement(device.element), goal.wantedBytes)));
    this.patience.forget(MEMORY);
    this.patience.asked(MEMORY, MEMORY);
    return { ...this.waiting(), hasChanged: true };
  }

  private memoryDone(vmi: VirtualMachineInstance, goal: MemoryGoal): SyncResult {
    this.patience.forget(MEMORY);
    const size = binaryQuantity(goal.guestBytes);
    this.deps.events.normal(vmi, 'MemoryPlugged', `The guest has ${size} of memory`);
    const done: InstanceChange = (now) => ({
      ...now,
      status: {
        ...without(now, VmiCondition.hotMemoryChange).status,
        memory: { ...now.status?.memory, guestCurrent: size, guestRequested: size },
      },
    });
    return { ...NOTHING, changes: [done] };
  }

  /** The guest has not taken, or not given, what it was asked for: it keeps what it has. */
  private async takeBack(guest: GuestNow, goal: MemoryGoal): Promise<SyncResult> {
    const [device] = guest.live.memory;
    if (device !== undefined)
      await guest.libvirt.updateDevice(guest.domain, renderXml(withRequest(asElement(device.element), goal.currentBytes)));
    const has = binaryQuantity(goal.bootBytes + goal.currentBytes);
    const why = `The guest stays at ${has} of memory instead of ${binaryQuantity(goal.guestBytes)}`;
    const help =
      'it lacks the virtio-mem driver, or uses the memory that it should give back. A restart gives it what the VM asks for';
    return this.memoryFailed(guest.vmi, goal, `${why}: ${help}`);
  }

  private memoryFailed(vmi: VirtualMachineInstance, goal: MemoryGoal, message: string): SyncResult {
    this.patience.forget(MEMORY);
    this.deps.events.warning(vmi, HotplugReason.memoryChangeFailed, message);
    // KubeVirt-compat: the condition's reason has blanks
    const text = { type: VmiCondition.hotMemoryChange, status: 'False', reason: 'Memory Hotplug Failed', message } as const;
    const current = binaryQuantity(goal.bootBytes + goal.currentBytes);
    const failed: InstanceChange = (now) => {
      const told = this.withCondition(now, text);
      const memory = { ...told.status?.memory, guestCurrent: current, guestRequested: binaryQuantity(goal.guestBytes) };
      return { ...told, status: { ...told.status, memory } };
    };
    return { ...NOTHING, changes: [failed] };
  }

  private withCondition(vmi: VirtualMachineInstance, text: ConditionText): VirtualMachineInstance {
    const bare = without(vmi, text.type);
    const condition = { ...text, lastProbeTime: null, lastTransitionTime: formatTime(this.deps.nowMs()) };
    // null times are how KubeVirt writes them
    const conditions = [...(bare.status?.conditions ?? []), condition] as kubevirt.VirtualMachineInstanceCondition[];
    return { ...bare, status: { ...bare.status, conditions } };
  }
}

interface ConditionText {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason?: string;
  readonly message?: string;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const conditionMessage = ({ status }: VirtualMachineInstance, type: string): string | undefined =>
  status?.conditions?.find((condition) => condition.type === type)?.message;

function without(vmi: VirtualMachineInstance, type: string): VirtualMachineInstance {
  const conditions = (vmi.status?.conditions ?? []).filter((condition) => condition.type !== type);
  return { ...vmi, status: { ...vmi.status, conditions } };
}

const shrinkProblem = ({ wanted, current }: VcpuGoal): string =>
  `The guest has ${current} vCPUs and should have ${wanted}: vCPUs are taken away by a restart only`;

/** Why the guest does not use what it was given; undefined also when its agent cannot be asked. */
async function vcpuProblem({ libvirt, domain }: GuestNow, { wanted }: VcpuGoal): Promise<string | undefined> {
  const report = await bringOnline(libvirt, domain, 'vcpus');
  if (report === undefined || report.online >= wanted) return undefined;
  return `The guest uses ${report.online} of ${wanted} vCPUs: bring the others online in the guest, or restart the VM`;
}

function memoryElement({ deviceBytes, wantedBytes, blockBytes }: MemoryGoal) {
  const bytes = (name: string, value: number) => el(name, { unit: 'KiB' }, String(value / 1024));
  return el(
    'memory',
    { model: 'virtio-mem' },
    el(
      'target',
      {},
      bytes('size', deviceBytes),
      el('node', {}, '0'),
      bytes('block', blockBytes),
      bytes('requested', wantedBytes),
    ),
    el('alias', { name: 'ua-virtiomem' }),
  );
}

/** The device as libvirt described it, asking the guest for another size. */
function withRequest(device: ReturnType<typeof asElement>, bytes: number): ReturnType<typeof asElement> {
  return {
    ...device,
    children: device.children.map((part) => {
      if (typeof part === 'string') return part;
      if (part.name === 'requested') return el('requested', { unit: 'KiB' }, String(bytes / 1024));
      return withRequest(part, bytes);
    }),
  };
}
