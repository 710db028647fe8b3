import { deepEqual } from '@slipway/apimachinery';
import type { InstanceConfig } from '../instance/instance-config.ts';

/** What of a running installation has to start again before it is as its new configuration says. */
export interface Restarts {
  readonly server: boolean;
  readonly agents: boolean;
}

/** Compares what an installation runs by with what it shall run by. Pure. */
export function restartsFor(before: InstanceConfig, after: InstanceConfig): Restarts {
  // agents are told the address of the server when they start
  const isMoved = after.listenHost !== before.listenHost || after.listenPort !== before.listenPort;
  // a node that has been alone looks for others from then on
  const isJoined = after.link !== undefined && before.link === undefined;
  const hasNewLease = after.server?.nodeMonitorGraceSeconds !== before.server?.nodeMonitorGraceSeconds;
  return {
    server: isMoved || isJoined || !deepEqual(after.server ?? {}, before.server ?? {}),
    agents: isMoved || isJoined || hasNewLease,
  };
}
