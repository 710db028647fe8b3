import { VmiCondition } from '@slipway/api';
import { sleep } from '@slipway/runtime';
import { DOMAIN_STATE, SHUTOFF_MIGRATED } from '../libvirt/index.ts';
import { findDomain, type MigrationDeps, type MovableGuest } from './contracts.ts';
import { type Agreement, type MigrationRecord, readMigrationRecord, writeAgreement, writeGiven } from './migration-record.ts';
import { type MoveTrace } from './move-trace.ts';
import { repeated } from './repeated.ts';

const JOB_POLL_MS = 100;
const FAILED = 'guest not handed over yet';

export interface DecisionDeps {
  readonly deps: MigrationDeps;
  readonly guest: MovableGuest;
  readonly migration: string;
  readonly trace: Pick<MoveTrace, 'note'>;
}

/** Who has the guest: decided once, by the source, and kept on the disk before anybody hears of it (ADR 0017). */
export class Decision {
  readonly made: Promise<'given' | 'kept'>;
  /** Why the guest stays. */
  reason = '';
  isAborted = false;
  private readonly parts: DecisionDeps;
  private record: MigrationRecord | undefined;
  private isTaken = false;
  private addressesLeft: Promise<void> = Promise.resolve();
  private settleMade: (verdict: 'given' | 'kept') => void = () => {};

  constructor(parts: DecisionDeps) {
    this.parts = parts;
    this.made = new Promise((resolve) => {
      this.settleMade = resolve;
    });
  }

  get isMade(): boolean {
    return this.isTaken;
  }

  /** Resolves when what still comes for the guest goes to its new node; rejects when that did not work. */
  get left(): Promise<void> {
    return this.addressesLeft;
  }

  /** What was agreed with the target, as far as it came to that. */
  get agreed(): MigrationRecord | undefined {
    return this.record;
  }

  /** Where the guest goes if it is given away. Survives a crash once it resolves. */
  async agree(parts: Pick<Agreement, 'target' | 'disks'>): Promise<void> {
    const agreement = { migration: this.parts.migration, ...parts };
    await writeAgreement(this.parts.guest.sandbox, agreement);
    this.record = { ...agreement, isGiven: false, isPaused: false };
  }

  /** Whether the guest was given away before this agent started. */
  async recall(): Promise<boolean> {
    const record = await readMigrationRecord(this.parts.guest.sandbox);
    if (record?.migration !== this.parts.migration) return false;
    this.record = record;
    return record.isGiven;
  }

  /** The guest belongs to the target from now on. */
  give(): void {
    if (this.isTaken) return;
    this.isTaken = true;
    // repeats what fails; without an agreement no job was started
    this.carryOut().then(this.settleMade, () => {});
  }

  keep(reason: string, isAborted = false): void {
    if (this.isTaken) return;
    this.isTaken = true;
    this.reason = reason;
    this.isAborted = isAborted;
    this.settleMade('kept');
  }

  /** The job is over, or is not watched any more: a guest that is still here is kept. */
  async settle(reason: string, isAborted: boolean): Promise<void> {
    const hasMoved = await repeated(this.parts.guest, 'it is not known yet where a guest is', () => this.endJob());
    if (hasMoved) this.give();
    else this.keep(reason, isAborted);
  }

  /** Ends what is left of the job; true when libvirt has shut the guest off because it is elsewhere. */
  private async endJob(): Promise<boolean> {
    const { guest } = this.parts;
    // a guest that was given and has died leaves nobody to be asked
    if (this.isTaken) return false;
    const libvirt = await guest.libvirt();
    for (;;) {
      const domain = await findDomain(libvirt, guest.name);
      if (domain === undefined || this.isTaken) return false;
      const { state, reason } = await libvirt.state(domain);
      if (state === DOMAIN_STATE.shutoff) return reason === SHUTOFF_MIGRATED;
      if ((await libvirt.jobStats(domain)).size === 0) return false;
      await libvirt.abortJob(domain).catch(() => {}); // it may have ended just then
      await sleep(guest.clock, JOB_POLL_MS, new AbortController().signal);
    }
  }

  private async carryOut(): Promise<'given' | 'kept'> {
    const { guest, deps, trace } = this.parts;
    trace.note('decided');
    const agreed = this.record;
    if (agreed === undefined) throw new Error('Nothing was agreed with the target');
    const { target, disks } = agreed;
    const isPaused = guest
      .vmi()
      .status?.conditions?.some(
        (one) => one.type === VmiCondition.paused && one.status === 'True' && one.reason === 'PausedByUser',
      );
    const given = agreed.isGiven ? agreed : { ...agreed, isGiven: true, isPaused: isPaused === true };
    // also what is known already: an agent that was killed may not have come to the end of it
    await repeated(guest, FAILED, () => writeGiven(guest.sandbox, given));
    this.record = given;
    trace.note('marked');
    await repeated(guest, FAILED, () => guest.killGuest());
    trace.note('killed');
    this.addressesLeft = deps.network.handOver(guest.sandbox.podUid, target.link, new AbortController().signal);
    this.addressesLeft.then(() => trace.note('addresses given')).catch(() => {}); // reported by whoever waits for it
    const handOver = repeated(guest, FAILED, () => deps.volumes.handOver(guest.vmi(), guest.sandbox.podUid, target));
    // a disk that both reach must have changed hands before the target opens it
    if (disks.some(({ transfer }) => transfer === 'shared')) await handOver;
    trace.note('disks given');
    return 'given';
  }
}
