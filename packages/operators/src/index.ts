import type { ControllerRegistration } from '@slipway/runtime';
import { cdiOperator } from './cdi/index.ts';
import { aaqOperator } from './components/aaq.ts';
import { kubeVirtOperator, sspOperator } from './components/index.ts';
import { networkAddonsOperator } from './components/network-addons.ts';
import { hostPathOperator, storageCapacityController } from './host-path/index.ts';
import { hyperConvergedController } from './hyperconverged/index.ts';
import { commonTypesController } from './common-types/index.ts';
import { olmControllers } from './olm/index.ts';
import { dashboardsController } from './monitoring/dashboards/index.ts';
import { commonTemplatesController, goldenImagesController } from './ssp/index.ts';
import { cdiConfigController, storageClassController } from './storage/index.ts';

export { instanceTypes } from './common-types/instance-types.ts';
export { preferences } from './common-types/preferences.ts';
export { cdiAdmission } from './cdi/cdi-admission.ts';
export { hostPathAdmission } from './host-path/index.ts';
export { hyperConvergedAdmission } from './hyperconverged/admission.ts';
export { convertHyperConverged } from './hyperconverged/convert-versions.ts';
export * from './kinds.ts';
export * from './olm/kinds.ts';
export { packageManifestsApi } from './olm/package-manifests.ts';
export { appliedQuotasApi } from './projects/applied-quotas.ts';
export { PROJECTS_COMPONENT, projectsApi } from './projects/projects-api.ts';
export {
  processedTemplatesApi,
  templateColumns,
  type TemplateValidator,
  templateValidator,
  type VmConsoleProxy,
  vmConsoleProxy,
} from './ssp/index.ts';
export { type DashboardFile, dashboardFiles } from './monitoring/dashboards/index.ts';
export { alerting, type ListedAlert } from './monitoring/index.ts';

/** The operators of the platform; the daemon starts them all. */
export const operators: readonly ControllerRegistration[] = [
  hyperConvergedController,
  kubeVirtOperator,
  cdiOperator,
  sspOperator,
  networkAddonsOperator,
  aaqOperator,
  hostPathOperator,
  storageCapacityController,
  storageClassController,
  cdiConfigController,
  commonTypesController,
  commonTemplatesController,
  goldenImagesController,
  dashboardsController,
  ...olmControllers,
];
