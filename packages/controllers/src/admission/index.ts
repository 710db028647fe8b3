import type { AdmissionHandler } from '@slipway/runtime';
import type { AdmissionDeps } from './deps.ts';
import { instanceHandler } from './instance-handler.ts';
import { migrationHandler } from './migration-handler.ts';
import { simpleHandlers } from './simple-handlers.ts';
import { cloneHandler, restoreHandler } from './snapshot-handlers.ts';
import { poolHandler, virtualMachineHandler } from './virtual-machine-handler.ts';

export { type AdmissionDeps, isPlatformUser } from './deps.ts';
export { withInferredTypes } from './resolve-matchers.ts';

/** Defaulting and validation of every KubeVirt kind, for the embedded API server and for webhooks alike. */
export function virtAdmissionHandlers(deps: AdmissionDeps): readonly AdmissionHandler[] {
  return [
    instanceHandler(deps),
    virtualMachineHandler(deps),
    poolHandler(deps),
    migrationHandler(deps),
    restoreHandler(deps),
    cloneHandler(deps),
    ...simpleHandlers(deps),
  ];
}
