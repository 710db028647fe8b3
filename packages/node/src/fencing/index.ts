export { FenceKeeper, fenceDirectory, uptimeMs } from './fence-keeper.ts';
export { WATCHDOG_PROGRAM } from './watchdog-program.ts';
