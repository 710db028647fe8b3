import { isConflict, isNotFound, keyOf } from '@slipway/apimachinery';
import { type VirtualMachineInstance, VirtualMachineInstanceKind } from '@slipway/api';
import type { Client } from '@slipway/client';

const ATTEMPTS = 6;

const revisionOf = ({ metadata }: VirtualMachineInstance): number => Number(metadata.resourceVersion ?? 0);

/** The newest known state of one VMI, and the only writer of it on this node. */
export class InstanceWriter {
  private readonly client: Client;
  private latest: VirtualMachineInstance;
  private tail: Promise<unknown> = Promise.resolve();
  private isGone = false;

  constructor(client: Client, vmi: VirtualMachineInstance) {
    this.client = client;
    this.latest = vmi;
  }

  get current(): VirtualMachineInstance {
    return this.latest;
  }

  get gone(): boolean {
    return this.isGone;
  }

  /** An event of the watch; answers whether it is news. */
  observe(vmi: VirtualMachineInstance): boolean {
    if (vmi.metadata.uid !== this.latest.metadata.uid || revisionOf(vmi) <= revisionOf(this.latest)) return false;
    this.latest = vmi;
    return true;
  }

  observeDeletion(): void {
    this.isGone = true;
  }

  /** Applies a pure change to the newest state, again on conflict; writes nothing when it changes nothing. */
  update(change: (vmi: VirtualMachineInstance) => VirtualMachineInstance, signal: AbortSignal): Promise<void> {
    const run = this.tail.then(() => this.attempt(change, signal));
    this.tail = run.catch(() => {});
    return run;
  }

  private async attempt(change: (vmi: VirtualMachineInstance) => VirtualMachineInstance, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; !this.isGone; attempt++) {
      const next = change(this.latest);
      if (next === this.latest) return;
      try {
        this.observe(await this.client.update(VirtualMachineInstanceKind, next, { signal }));
        return;
      } catch (error) {
        if (isNotFound(error)) this.isGone = true;
        else if (isConflict(error) && attempt < ATTEMPTS) await this.refresh(signal);
        else throw error;
      }
    }
  }

  /** Reads the VMI again: for waits that must not depend on an event alone. */
  async refresh(signal: AbortSignal): Promise<void> {
    try {
      const vmi = await this.client.get(VirtualMachineInstanceKind, keyOf(this.latest), { signal });
      if (vmi.metadata.uid !== this.latest.metadata.uid) this.isGone = true;
      else if (revisionOf(vmi) > revisionOf(this.latest)) this.latest = vmi;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.isGone = true;
    }
  }
}
