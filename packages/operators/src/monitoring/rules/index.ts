import { HCO_RULES, SSP_RULES } from './platform-rules.ts';
import { KUBEVIRT_RULES } from './kubevirt-rules.ts';
import type { PrometheusRule, Rule } from './rule.ts';

const OBJECTS: readonly (readonly [name: string, rules: readonly Rule[]])[] = [
  ['prometheus-kubevirt-rules', KUBEVIRT_RULES],
  ['kubevirt-hyperconverged-prometheus-rule', HCO_RULES],
  ['prometheus-k8s-rules-cnv', SSP_RULES],
];

/** The rules of the platform for a Prometheus; those of CDI are its own. */
export const prometheusRules = (namespace: string): readonly PrometheusRule[] =>
  OBJECTS.map(([name, rules]) => ({
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: {
      name,
      namespace,
      labels: { 'app.kubernetes.io/part-of': 'hyperconverged-cluster', 'prometheus.kubevirt.io': 'true' },
    },
    spec: {
      groups: [
        { name: 'recordingRules.rules', rules: rules.filter((rule) => 'record' in rule) },
        { name: 'alerts.rules', rules: rules.filter((rule) => 'alert' in rule) },
      ],
    },
  }));
