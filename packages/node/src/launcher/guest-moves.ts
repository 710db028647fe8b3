import { Label } from '@slipway/api';
import type { PodNetworkStatus } from '../contracts.ts';
import {
  IncomingMigration,
  type MigrationDeps,
  type MovableGuest,
  OutgoingMigration,
  type Received,
  readMigrationRecord,
  roleOf,
} from '../migration/index.ts';
import type { GuestEvent } from './guest-event.ts';
import { domainName, requestedCpus } from './launch-parts.ts';
import { untilWritten } from './launch-retry.ts';
import type { GuestControl, LaunchView } from './launch-view.ts';

/** Whether this pod was made for a guest that is elsewhere. Pure. */
export function isAwaited({ deps, pod, writer }: Pick<LaunchView, 'deps' | 'pod' | 'writer'>): boolean {
  const { phase, nodeName } = writer.current.status ?? {};
  const isTarget = pod.current.metadata.labels?.[Label.migrationJobUid] !== undefined;
  return isTarget && phase === 'Running' && nodeName !== deps.config.nodeName;
}

/** Migrations of one launch's guest: here, and from here. */
export class GuestMoves {
  private readonly view: LaunchView;
  private readonly migrations: MigrationDeps;
  private readonly guest: MovableGuest;
  private incoming: IncomingMigration | undefined;
  private outgoing: OutgoingMigration | undefined;
  /** Migrations that this launch has dealt with. */
  private readonly known = new Set<string>();
  private hasLeft = false;

  constructor(view: LaunchView, migrations: MigrationDeps, session: GuestControl) {
    this.view = view;
    this.migrations = migrations;
    const { deps, pod, writer } = view;
    const { clock, random, log, events } = deps;
    this.guest = {
      ...{ clock, random, log, events, nodeName: deps.config.nodeName, sandbox: session.sandbox },
      name: domainName(writer.current),
      daemonSocket: `run/libvirt/${deps.facts.programs.socketName}`,
      pod: () => pod.current,
      vmi: () => writer.current,
      isGone: () => writer.gone,
      changed: () => view.changed(),
      refresh: (signal) => writer.refresh(signal),
      update: (change, signal) => untilWritten(deps, () => writer.update(change, signal), signal),
      libvirt: () => session.libvirt(),
      killGuest: () => deps.sandboxes.killGuest(pod.uid),
      openConsoles: () => session.openConsoles(),
      hurry: (isHurrying) => {
        const cpus = requestedCpus(pod.current);
        return deps.sandboxes.shareProcessor(pod.uid, isHurrying ? Math.max(1, cpus) : cpus);
      },
    };
  }

  /** The guest belongs to another node. */
  get isGiven(): boolean {
    return this.hasLeft || (this.outgoing?.decision.isMade === true && this.outgoing.decision.agreed?.isGiven === true);
  }

  /** Waits for a guest that comes from another node; a text says why it does not come, nothing that it runs already. */
  async receive(network: PodNetworkStatus): Promise<Received | string | undefined> {
    const { deps, pod, writer, signal } = this.view;
    const migration = pod.current.metadata.labels?.[Label.migrationJobUid] ?? '';
    const prepareFiles = async (aborting: AbortSignal): Promise<Received['files']> => {
      const files = await deps.volumes.prepareFiles(writer.current, pod.current, this.guest.sandbox, aborting);
      await deps.startHelpers(this.guest.sandbox, files, aborting);
      return files;
    };
    this.incoming = new IncomingMigration(this.migrations, this.guest, { network, prepareFiles }, migration);
    try {
      return await this.incoming.run(signal);
    } catch (error) {
      signal.throwIfAborted();
      return error instanceof Error ? error.message : String(error);
    } finally {
      this.incoming = undefined;
      this.known.add(migration);
    }
  }

  /** What an earlier agent has begun: true when the guest is, or goes, elsewhere. */
  async finishLeaving(): Promise<boolean> {
    const record = await readMigrationRecord(this.guest.sandbox);
    const { nodeName } = this.view.writer.current.status ?? {};
    if (record?.isGiven && nodeName !== this.guest.nodeName) return true;
    const role = this.sourceRole();
    if (role === undefined || (record?.isGiven !== true && role.state.startTimestamp === undefined)) return false;
    return this.leave(role.migration);
  }

  /** The instance has changed: begins to move the guest away when that is asked for. */
  notice(onLeft: () => void): void {
    const role = this.sourceRole();
    if (role === undefined || this.known.has(role.migration) || this.outgoing !== undefined) return;
    this.leave(role.migration)
      .then((hasLeft) => (hasLeft ? onLeft() : undefined))
      .catch((error: unknown) => {
        if (!this.view.signal.aborted) this.guest.log.error({ error: String(error) }, 'migration given up');
      });
  }

  /** Whether an event of the domain is the migration's, and not the guest's. `replay` gets it when that turns out wrong. */
  holds(event: GuestEvent, replay: (event: GuestEvent) => void): boolean {
    if (this.hasLeft) return true;
    const { incoming, outgoing } = this;
    if (incoming !== undefined) {
      incoming.notice();
      return true;
    }
    if (outgoing === undefined) return false;
    if (event.type === 'paused') return outgoing.hasPaused;
    if (event.type !== 'ended') return false;
    if (event.hasMoved) outgoing.decision.give();
    outgoing.decision.made.then((verdict) => (verdict === 'kept' ? replay(event) : undefined)).catch(() => {});
    return true;
  }

  private sourceRole() {
    const { writer, pod } = this.view;
    const role = roleOf(writer.current, pod.current.metadata.name ?? '', this.guest.nodeName);
    return role?.side === 'source' ? role : undefined;
  }

  private async leave(migration: string): Promise<boolean> {
    this.known.add(migration);
    const outgoing = new OutgoingMigration(this.migrations, this.guest, migration);
    this.outgoing = outgoing;
    try {
      this.hasLeft = (await outgoing.run(this.view.signal)) === 'given';
    } finally {
      this.outgoing = undefined;
    }
    return this.hasLeft;
  }
}
