export { FreezeTimers } from './freeze-timers.ts';
export { GuestAgent } from './guest-agent.ts';
export { startGuestHelpers } from './guest-helpers.ts';
export { Launch } from './launch.ts';
export { LauncherRunner, type LauncherRunnerDeps } from './launcher-runner.ts';
export { type ConfigSource, type NodeFacts, readFirmware } from './node-facts.ts';
export { launcherHandlers } from './node-verbs.ts';
export { guestDisks } from './live-disks.ts';
