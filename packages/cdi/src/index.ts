import type { ControllerRegistration } from '@slipway/runtime';
import { cloneController } from './clone/clone-controller.ts';
import { dataImportCronController } from './data-import-cron/index.ts';
import { dataSourceController } from './data-source/data-source-controller.ts';
import { dataVolumeController } from './data-volume/data-volume-controller.ts';
import { importController } from './import/import-controller.ts';
import { cdiMetrics } from './metrics/index.ts';
import { transferController } from './object-transfer/transfer-controller.ts';
import { storageProfileController } from './storage-profile/storage-profile-controller.ts';
import { populatorController } from './populator/populator-controller.ts';
import { uploadController } from './upload/index.ts';

export { cdiPrometheusRule } from './metrics/index.ts';
export { dataImportCronAdmission } from './data-import-cron/index.ts';
export { claimAdmission } from './data-volume/claim-admission.ts';
export { dataVolumeAdmission } from './data-volume/data-volume-admission.ts';
export { objectTransferAdmission } from './object-transfer/transfer-admission.ts';
export { clusterUploadTokens, uploadProxy, uploadServer, uploadTokenApi } from './upload/index.ts';
export { hostImageTools } from './mover/host-image-tools.ts';
export type { ImageTools, ToolLimits } from './mover/image-tools.ts';
export { type MoverIo, type MoverOutcome, runMover } from './mover/main.ts';
export { moverProcess } from './mover/process.ts';
export type { ProgressLine } from './mover/progress.ts';

/** Controllers of CDI; they run in any cluster. The CDIConfig object is kept by @slipway/operators. */
export const cdiControllers: readonly ControllerRegistration[] = [
  dataVolumeController,
  importController,
  uploadController,
  populatorController,
  cloneController,
  transferController,
  dataSourceController,
  dataImportCronController,
  storageProfileController,
  cdiMetrics,
];
