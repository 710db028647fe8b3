import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { LABELS } from '../constants.ts';
import { ALERTS, runbookOf } from './alerts.ts';
import { WORKERS } from './storage-metrics.ts';

interface PrometheusRule extends KubeObject {
  spec: { groups: readonly { readonly name: string; readonly rules: readonly object[] }[] };
}

export const PrometheusRuleKind: ResourceKind<PrometheusRule> = {
  group: 'monitoring.coreos.com',
  version: 'v1',
  kind: 'PrometheusRule',
  plural: 'prometheusrules',
  namespaced: true,
};
const RULE_NAME = 'prometheus-cdi-rules';

/** Recorded under their old names too, which dashboards still use. */
function recordings(): readonly { readonly record: string; readonly expr: string }[] {
  // the operator is a part of the server and has no pod: it is up when it says how CDI is
  const up = 'count(kubevirt_cdi_cr_ready) or vector(0)';
  const restarts = WORKERS.map(({ kind, container, name }) => {
    const pods = name.source.startsWith('^') ? `${name.source.slice(1)}.*` : `.*${name.source.slice(0, -1)}`;
    const expr = `count(kube_pod_container_status_restarts_total{pod=~'${pods}', container='${container}'} > 3) or on() vector(0)`;
    return { record: `kubevirt_cdi_${kind}_pods_high_restart`, suffix: 'count', expr };
  });
  return [{ record: 'kubevirt_cdi_operator_up', suffix: 'sum', expr: up }, ...restarts].flatMap(({ record, suffix, expr }) => [
    { record: `cluster:${record}:${suffix}`, expr },
    { record, expr },
  ]);
}

/** CDI's rules for a Prometheus operator. */
export const prometheusRule = (namespace: string): PrometheusRule => ({
  apiVersion: 'monitoring.coreos.com/v1',
  kind: 'PrometheusRule',
  metadata: { name: RULE_NAME, namespace, labels: { ...LABELS, 'prometheus.cdi.kubevirt.io': 'true' } },
  spec: {
    groups: [
      { name: 'recordingRules.rules', rules: recordings() },
      {
        name: 'alerts.rules',
        rules: ALERTS.map((alert) => ({
          alert: alert.name,
          expr: alert.expr,
          for: alert.for,
          annotations: { summary: alert.summary, runbook_url: runbookOf(alert) },
          labels: {
            severity: alert.severity,
            operator_health_impact: alert.healthImpact,
            kubernetes_operator_part_of: 'kubevirt',
            kubernetes_operator_component: 'containerized-data-importer',
          },
        })),
      },
    ],
  },
});
