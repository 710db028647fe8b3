import type { Client } from '@slipway/client';
import type { EventRecorder, Logger, TimerClock } from '@slipway/runtime';
import type { NodeConfig, PodNetwork, PreparedFiles, VolumeManager } from '../contracts.ts';
import type { HostDevices } from '../devices/index.ts';
import type { MigrationDeps } from '../migration/index.ts';
import type { RunningSandbox, SandboxManager } from '../sandbox/index.ts';
import type { FreezeTimers } from './freeze-timers.ts';
import type { GuestSession, GuestSessionDeps } from './guest-session.ts';
import type { InstanceWriter } from './instance-writer.ts';
import type { LauncherPod } from './launcher-pod.ts';
import type { ConfigSource, NodeFacts } from './node-facts.ts';

/** What a launch does with its guest; everything public of the session. */
export type GuestControl = Pick<GuestSession, keyof GuestSession>;

export interface LaunchDeps {
  readonly client: Client;
  readonly config: NodeConfig;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly network: PodNetwork;
  readonly volumes: VolumeManager;
  /** Devices of the host that pods are given; absent: none. */
  readonly devices?: Pick<HostDevices, 'allocate' | 'release'>;
  /** Absent on a node that is alone. */
  readonly migrations?: MigrationDeps;
  readonly sandboxes: Partial<Pick<SandboxManager, 'limitMemory'>> &
    Pick<SandboxManager, 'find' | 'create' | 'kill' | 'killGuest' | 'destroy' | 'shareProcessor'>;
  readonly facts: NodeFacts;
  /** Starts what the guest needs beside QEMU. */
  readonly startHelpers: (sandbox: RunningSandbox, files: PreparedFiles, signal: AbortSignal) => Promise<void>;
  readonly freezes: FreezeTimers;
  readonly clusterConfig: ConfigSource;
  readonly hostIP: string;
  readonly consoleLogOf: (podUid: string) => string;
  /** Replaced in tests. */
  readonly openSession?: (deps: GuestSessionDeps) => GuestControl;
}

/** One launch as its parts see it. */
export interface LaunchView {
  readonly deps: LaunchDeps;
  readonly pod: LauncherPod;
  readonly writer: InstanceWriter;
  /** Aborted when the pod is gone or the agent goes down. */
  readonly signal: AbortSignal;
  /** Resolves when the end of the guest is recorded. */
  readonly ended: Promise<void>;
  /** The guest has ended or will never start. */
  readonly hasEnded: () => boolean;
  /** Resolves at the next change of the pod or the VMI. */
  readonly changed: () => Promise<void>;
  /** A step has failed and will be repeated. */
  readonly troubled: () => void;
}
