import type { KubeObject, ResourceKind } from '@slipway/apimachinery';

/** A condition that somebody must know of, once it has held for a time. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A metric that is computed of others. */
export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export type Rule = AlertRule | RecordingRule;

/** `monitoring.coreos.com/v1`. */
export interface PrometheusRule extends KubeObject {
  spec?: { groups?: readonly { readonly name: string; readonly rules?: readonly Rule[] }[] };
}

export const PrometheusRuleKind: ResourceKind<PrometheusRule> = {
  group: 'monitoring.coreos.com',
  version: 'v1',
  kind: 'PrometheusRule',
  plural: 'prometheusrules',
  namespaced: true,
};

export type Severity = 'info' | 'warning' | 'critical';
export type Impact = 'none' | 'warning' | 'critical';

/** Name, severity and impact, duration, expression and summary. */
export type AlertRow = readonly [name: string, levels: `${Severity}/${Impact}`, lasts: string, expr: string, summary: string];

const RUNBOOKS = 'https://kubevirt.io/monitoring/runbooks/';

/** An alert with the labels and annotations that all of the platform have. */
export function alertRule(component: string, [name, levels, lasts, expr, summary]: AlertRow): AlertRule {
  const [severity = '', impact = ''] = levels.split('/');
  return {
    alert: name,
    expr,
    ...(lasts !== '' && { for: lasts }),
    annotations: { summary, runbook_url: `${RUNBOOKS}${name}` },
    labels: {
      severity,
      operator_health_impact: impact,
      kubernetes_operator_part_of: 'kubevirt',
      kubernetes_operator_component: component,
    },
  };
}

/** The object that carries rules: recorded metrics before the alerts that ask for them. */
export const prometheusRule = (metadata: PrometheusRule['metadata'], rules: readonly Rule[]): PrometheusRule => ({
  apiVersion: 'monitoring.coreos.com/v1',
  kind: 'PrometheusRule',
  metadata,
  spec: {
    groups: [
      { name: 'recordingRules.rules', rules: rules.filter((rule) => 'record' in rule) },
      { name: 'alerts.rules', rules: rules.filter((rule) => 'alert' in rule) },
    ],
  },
});
