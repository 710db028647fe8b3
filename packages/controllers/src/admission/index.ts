import type { AdmissionHandler } from '@slipway/runtime';
import type { AdmissionDeps } from './deps.ts';
import { evictionHandler } from './eviction-handler.ts';
import { instanceHandler } from './instance-handler.ts';
import { hyperConvergedHandler, kubeVirtHandler } from './kubevirt-handler.ts';
import { migrationHandler } from './migration-handler.ts';
import { createShapeCheck } from './shape-check.ts';
import { simpleHandlers } from './simple-handlers.ts';
import { cloneHandler, restoreHandler } from './snapshot-handlers.ts';
import { volumeMigrationHandler } from '../volume-migration/volume-migration-admission.ts';
import { poolHandler, virtualMachineHandler } from './virtual-machine-handler.ts';

export { cachedPresets } from './cached-presets.ts';
export { type AdmissionDeps, isPlatformUser, platformUserIn } from './deps.ts';

/** Defaulting and validation of every KubeVirt kind, for the embedded API server and for webhooks alike. */
export function virtAdmissionHandlers(deps: AdmissionDeps): readonly AdmissionHandler[] {
  const checkShape = createShapeCheck();
  return [
    instanceHandler(deps, checkShape),
    virtualMachineHandler(deps, checkShape),
    volumeMigrationHandler(deps),
    poolHandler(deps),
    migrationHandler(deps, checkShape),
    evictionHandler(deps),
    restoreHandler(deps),
    cloneHandler(deps),
    kubeVirtHandler(deps),
    hyperConvergedHandler(deps),
    ...simpleHandlers(deps),
  ];
}
