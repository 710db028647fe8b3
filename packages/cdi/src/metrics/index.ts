import {
  CDIKind,
  CustomResourceDefinitionKind,
  DataImportCronKind,
  DataVolumeKind,
  NodeKind,
  PodKind,
  StorageClassKind,
  StorageProfileKind,
} from '@slipway/api';
import { type Condition, deepEqual, isAlreadyExists, isConditionTrue, isNotFound, type KubeObject } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchFor } from '@slipway/runtime';
import { ALERTS } from './alerts.ts';
import { PrometheusRuleKind, prometheusRule, RULE_CRD } from './prometheus-rule.ts';
import { type StorageFacts, storageMetrics, WORKERS } from './storage-metrics.ts';

/** The kind is there a moment before the server answers for it. */
const isServed = (definition: KubeObject | undefined): boolean =>
  isConditionTrue(
    (definition as (KubeObject & { status?: { conditions?: Condition[] } }) | undefined)?.status?.conditions,
    'Established',
  );

const KEY = { namespace: '', name: RULE_CRD };

/** Shows CDI's metrics, and keeps its rules where a Prometheus operator is installed. */
export const cdiMetrics: ControllerRegistration = {
  name: 'cdi-metrics',
  rules: allow('get create update', PrometheusRuleKind),
  create({ client, informers, settings }) {
    const definitions = informers.lister(CustomResourceDefinitionKind);
    const profiles = informers.lister(StorageProfileKind);
    const [cdis, nodes, classes] = [informers.lister(CDIKind), informers.lister(NodeKind), informers.lister(StorageClassKind)];
    const [dataVolumes, crons, pods] = [
      informers.lister(DataVolumeKind),
      informers.lister(DataImportCronKind),
      informers.lister(PodKind),
    ];
    const facts = (): StorageFacts => ({
      cdi: cdis.list().find(({ status }) => status?.phase !== 'Error'),
      nodeCount: nodes.list().length,
      classes: classes.list(),
      profile: (name) => profiles.get({ namespace: '', name }),
      dataVolumes: dataVolumes.list(),
      crons: crons.list(),
      pods: pods.list().filter(({ metadata }) => WORKERS.some(({ name }) => name.test(metadata.name ?? ''))),
    });
    return {
      watches: [watchFor(CustomResourceDefinitionKind, KEY, ({ object }) => object.metadata.name === RULE_CRD)],
      concurrency: 1,
      metrics() {
        const now = facts();
        return [
          ...storageMetrics(now),
          {
            name: 'slipway_cdi_alert_condition',
            help: 'Whether the condition of an alert of CDI holds now; it fires when it has held for a while',
            type: 'gauge',
            samples: ALERTS.map((alert) => ({
              labels: { alertname: alert.name, severity: alert.severity },
              value: alert.holds(now) ? 1 : 0,
            })),
          },
        ];
      },
      reconciler: {
        async reconcile(_, signal) {
          if (!isServed(definitions.get(KEY))) return done;
          const rule = prometheusRule(settings.installNamespace);
          const key = { namespace: settings.installNamespace, name: rule.metadata.name ?? '' };
          try {
            const current = await client.get(PrometheusRuleKind, key, { signal });
            if (!deepEqual(current.spec, rule.spec))
              await client.update(PrometheusRuleKind, { ...current, spec: rule.spec }, { signal });
          } catch (error) {
            if (!isNotFound(error)) throw error;
            await client.create(PrometheusRuleKind, rule, { signal }).catch((refusal: unknown) => {
              if (!isAlreadyExists(refusal)) throw refusal;
            });
          }
          return done;
        },
      },
    };
  },
};
