import { formatTime, isNotFound, keyOf } from '@slipway/apimachinery';
import { type Pod, PodKind } from '@slipway/api';
import type { PodNetworkStatus } from '../contracts.ts';
import { wasReady } from '../probes/index.ts';
import type { LaunchDeps } from './launch-view.ts';
import { type PodState, podStatus } from './pod-status.ts';

type LauncherPodDeps = Pick<LaunchDeps, 'client' | 'clock' | 'hostIP'>;

/** The newest known pod object of one launch, and the writer of its status. */
export class LauncherPod {
  private readonly deps: LauncherPodDeps;
  private latest: Pod;
  private podIPs: readonly string[] = [];
  private hasEnded = false;
  /** What its readiness probe says; true without one, and what the status says after a restart of the agent. */
  private isProbedReady: boolean;
  /** What the server has been told of it; the newest known object may be older than that. */
  private toldReady: boolean | undefined;
  /** One write at a time: a late word of the running pod must not cover its end. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(deps: LauncherPodDeps, pod: Pod, isGuestReady = false) {
    this.deps = deps;
    this.latest = pod;
    // a guest that comes from elsewhere is as ready as it was there
    this.isProbedReady = isGuestReady || pod.spec?.containers[0]?.readinessProbe === undefined || wasReady(pod);
  }

  /** Whether the readiness probe has been answered; true for a pod without one. */
  get isReady(): boolean {
    return this.isProbedReady;
  }

  get current(): Pod {
    return this.latest;
  }

  get uid(): string {
    return this.latest.metadata.uid ?? '';
  }

  /** For logs: `namespace/name`. */
  get key(): string {
    return `${this.latest.metadata.namespace}/${this.latest.metadata.name}`;
  }

  /** Addresses of the pod, once it has its network. */
  get addresses(): readonly string[] {
    return this.podIPs;
  }

  observe(pod: Pod): void {
    this.latest = pod;
  }

  /** Records the network in the pod's status: its containers run. Writes nothing when they have ended. */
  writeRunning({ podIPs, annotations }: PodNetworkStatus): Promise<void> {
    this.podIPs = podIPs;
    return this.inOrder(async () => (this.hasEnded ? undefined : this.write({ phase: 'Running' }, annotations)));
  }

  /** Records how the guest ended; the message says why it failed. */
  writeEnded(phase: 'Succeeded' | 'Failed', message?: string): Promise<void> {
    this.hasEnded = true;
    return this.inOrder(() => this.write({ phase, ...(message !== undefined && { message }) }));
  }

  /** The readiness probe has another opinion. */
  writeReadiness(isReady: boolean): Promise<void> {
    this.isProbedReady = isReady;
    return this.inOrder(async () => {
      if (!this.hasEnded && this.isProbedReady !== this.toldReady) await this.write({ phase: 'Running' });
    });
  }

  /** Somebody else has opened or closed a readiness gate: whether the pod is ready follows. */
  refreshReadiness(): Promise<void> {
    return this.inOrder(async () => {
      if (this.podIPs.length === 0 || this.hasEnded) return;
      const wanted = this.statusOf({ phase: 'Running' }).conditions?.find(({ type }) => type === 'Ready')?.status;
      const has = this.latest.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
      if (has !== undefined && wanted !== has) await this.write({ phase: 'Running' });
    });
  }

  private inOrder(write: () => Promise<void>): Promise<void> {
    const run = this.tail.then(write);
    this.tail = run.catch(() => {});
    return run;
  }

  private statusOf(state: Pick<PodState, 'phase' | 'message'>): NonNullable<Pod['status']> {
    const { clock, hostIP } = this.deps;
    return podStatus(this.latest, {
      ...{ ...state, podIPs: this.podIPs, hostIP, isProbedReady: this.isProbedReady },
      now: formatTime(clock.now()),
    });
  }

  private async write(state: Pick<PodState, 'phase' | 'message'>, annotations?: Readonly<Record<string, string>>): Promise<void> {
    try {
      // a status write of a pod takes annotations too
      const metadata = { uid: this.latest.metadata.uid, ...(annotations && { annotations }) };
      const status = this.statusOf(state);
      const isReady = this.isProbedReady;
      // conditions are merged by type: a reason that is over has to be taken away
      const conditions = status.conditions?.map((condition) => ({ reason: null, message: null, ...condition }));
      const patch = { metadata, status: { ...status, conditions } };
      await this.deps.client.patch(PodKind, keyOf(this.latest), patch, { type: 'strategic', subresource: 'status' });
      this.toldReady = isReady;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
