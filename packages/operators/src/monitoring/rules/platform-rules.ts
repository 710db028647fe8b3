import { type AlertRow, alertRule, type RecordingRule, type Rule } from '@slipway/runtime';

const orZero = (expr: string): string => `${expr} or vector(0)`;

const HCO_RECORDINGS: readonly RecordingRule[] = [
  { record: 'cluster:kubevirt_hco_operator_health_status:count', expr: 'kubevirt_hco_system_health_status' },
  { record: 'kubevirt_hyperconverged_operator_health_status', expr: 'kubevirt_hco_system_health_status' },
];
const HCO_ALERTS: readonly AlertRow[] = [
  [
    'HCOOperatorConditionsUnhealthy',
    'critical/critical',
    '10m',
    'kubevirt_hco_system_health_status == 2',
    'HCO and its secondary resources are in a critical state.',
  ],
  [
    'HCOOperatorConditionsUnhealthy',
    'warning/warning',
    '10m',
    'kubevirt_hco_system_health_status == 1',
    'HCO and its secondary resources are in a warning state.',
  ],
  [
    'KubeVirtCRModified',
    'warning/warning',
    '',
    'sum by (component_name) (increase(kubevirt_hco_out_of_band_modifications_total[10m])) > 0',
    'Out-of-band modifications of an operand of HCO were undone in the last 10 minutes.',
  ],
  [
    'UnsupportedHCOModification',
    'info/none',
    '',
    'sum by (annotation_name) (kubevirt_hco_unsafe_modifications) > 0',
    'The HyperConverged has an annotation that changes an operand in a way nobody has tested.',
  ],
  [
    'HCOInstallationIncomplete',
    'info/critical',
    '1h',
    'kubevirt_hco_hyperconverged_cr_exists == 0',
    'The operator runs, and there is no HyperConverged.',
  ],
  [
    'HCOGoldenImageWithNoSupportedArchitecture',
    'warning/none',
    '',
    'kubevirt_hco_dataimportcrontemplate_with_supported_architectures == 0',
    'A golden image has no architecture that a node has.',
  ],
  [
    'HCOGoldenImageWithNoArchitectureAnnotation',
    'warning/none',
    '',
    'kubevirt_hco_dataimportcrontemplate_with_architecture_annotation == 0',
    'A golden image does not say its architectures.',
  ],
];

const SSP_RECORDINGS: readonly RecordingRule[] = [
  { record: 'cluster:kubevirt_ssp_operator_up:sum', expr: orZero('count(kubevirt_ssp_operator_reconcile_succeeded)') },
  {
    record: 'cluster:kubevirt_ssp_template_validator_up:sum',
    expr: orZero('count(kubevirt_ssp_template_validator_rejected_total)'),
  },
  {
    record: 'cluster:kubevirt_ssp_operator_reconcile_succeeded:sum',
    expr: orZero('sum(kubevirt_ssp_operator_reconcile_succeeded)'),
  },
  {
    record: 'cluster:kubevirt_ssp_template_validator_rejected:increase1h',
    expr: orZero('sum(increase(kubevirt_ssp_template_validator_rejected_total[1h]))'),
  },
  {
    record: 'cluster:kubevirt_ssp_common_templates_restored:increase1h',
    expr: orZero('sum(increase(kubevirt_ssp_common_templates_restored_total[1h]))'),
  },
];
const SSP_ALERTS: readonly AlertRow[] = [
  ['SSPDown', 'critical/critical', '5m', 'cluster:kubevirt_ssp_operator_up:sum == 0', 'The SSP operator does not run.'],
  [
    'SSPTemplateValidatorDown',
    'critical/critical',
    '5m',
    'cluster:kubevirt_ssp_template_validator_up:sum == 0',
    'The template validator does not run.',
  ],
  [
    'SSPFailingToReconcile',
    'critical/critical',
    '5m',
    'cluster:kubevirt_ssp_operator_reconcile_succeeded:sum == 0 and cluster:kubevirt_ssp_operator_up:sum > 0',
    'The SSP operator fails to reconcile.',
  ],
  [
    'SSPHighRateRejectedVms',
    'warning/warning',
    '5m',
    'cluster:kubevirt_ssp_template_validator_rejected:increase1h > 5',
    'Many VMs were refused by the rules of their templates in the last hour.',
  ],
  [
    'SSPCommonTemplatesModificationReverted',
    'warning/none',
    '0m',
    'cluster:kubevirt_ssp_common_templates_restored:increase1h > 0',
    'Changes of common templates were undone in the last hour.',
  ],
];

export const HCO_RULES: readonly Rule[] = [
  ...HCO_RECORDINGS,
  ...HCO_ALERTS.map((row) => alertRule('hyperconverged-cluster-operator', row)),
];
export const SSP_RULES: readonly Rule[] = [...SSP_RECORDINGS, ...SSP_ALERTS.map((row) => alertRule('ssp-operator', row))];

const hppUp = orZero('count(kubevirt_hpp_cr_ready)');
const HPP_ALERTS: readonly AlertRow[] = [
  [
    'HPPOperatorDown',
    'warning/critical',
    '5m',
    'cluster:kubevirt_hpp_operator_up:sum == 0',
    'The hostpath provisioner operator does not run.',
  ],
  ['HPPNotReady', 'warning/critical', '5m', 'kubevirt_hpp_cr_ready == 0', 'The hostpath provisioner is not available to use.'],
  [
    'HPPSharingPoolPathWithOS',
    'warning/none',
    '1m',
    'kubevirt_hpp_pool_path_shared_with_os == 1',
    'A pool of the hostpath provisioner is on the file system of the system itself.',
  ],
];

export const HPP_RULES: readonly Rule[] = [
  { record: 'cluster:kubevirt_hpp_operator_up:sum', expr: hppUp },
  { record: 'kubevirt_hpp_operator_up', expr: hppUp },
  ...HPP_ALERTS.map((row) => alertRule('hostpath-provisioner-operator', row)),
];
