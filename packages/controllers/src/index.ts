import type { ControllerRegistration } from '@slipway/runtime';
import { schedulerController } from './scheduler/index.ts';

export * from './scheduler/index.ts';

/** Every controller of this package that runs in any cluster; the daemon starts them all. */
export const controllers: readonly ControllerRegistration[] = [schedulerController];
