import { type PrometheusRule, prometheusRule, type Rule } from '@slipway/runtime';
import { HCO_RULES, HPP_RULES, SSP_RULES } from './platform-rules.ts';
import { KUBEVIRT_RULES } from './kubevirt-rules.ts';

const OBJECTS: readonly (readonly [name: string, rules: readonly Rule[]])[] = [
  ['prometheus-kubevirt-rules', KUBEVIRT_RULES],
  ['kubevirt-hyperconverged-prometheus-rule', HCO_RULES],
  ['prometheus-k8s-rules-cnv', SSP_RULES],
  ['prometheus-hpp-rules', HPP_RULES],
];
const LABELS = { 'app.kubernetes.io/part-of': 'hyperconverged-cluster', 'prometheus.kubevirt.io': 'true' };

/** The rules of the platform; those of CDI are its own. */
export const prometheusRules = (namespace: string): readonly PrometheusRule[] =>
  OBJECTS.map(([name, rules]) => prometheusRule({ name, namespace, labels: LABELS }, rules));
