import {
  CDIKind,
  APIServiceKind,
  DataImportCronKind,
  DataVolumeKind,
  NodeKind,
  PodKind,
  StorageClassKind,
  StorageProfileKind,
} from '@slipway/api';
import { deepEqual, isAlreadyExists, isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, allow, type ControllerRegistration, done, type Result, watchFor } from '@slipway/runtime';
import { ALERTS } from './alerts.ts';
import { PrometheusRuleKind, prometheusRule } from './prometheus-rule.ts';
import { type StorageFacts, storageMetrics, WORKERS } from './storage-metrics.ts';

/** Name of the group's APIService: a Prometheus operator is installed when it is there. */
const KEY = { namespace: '', name: `v1.${PrometheusRuleKind.group}` };
const RETRY_MS = 30_000;

/** Shows CDI's metrics, and keeps its rules where a Prometheus operator is installed. */
export const cdiMetrics: ControllerRegistration = {
  name: 'cdi-metrics',
  rules: allow('get create update', PrometheusRuleKind),
  create({ client, informers, settings }) {
    const apiServices = informers.lister(APIServiceKind);
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
      watches: [watchFor(APIServiceKind, KEY, ({ object }) => object.metadata.name === KEY.name)],
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
          if (apiServices.get(KEY) === undefined) return done;
          const rule = prometheusRule(settings.installNamespace);
          const key = { namespace: settings.installNamespace, name: rule.metadata.name ?? '' };
          try {
            const current = await client.get(PrometheusRuleKind, key, { signal });
            if (!deepEqual(current.spec, rule.spec))
              await client.update(PrometheusRuleKind, { ...current, spec: rule.spec }, { signal });
          } catch (error) {
            if (!isNotFound(error)) throw error;
            return create(client, rule, signal);
          }
          return done;
        },
      },
    };
  },
};

/** The group may be there before this kind of it. */
async function create(client: Client, rule: ReturnType<typeof prometheusRule>, signal: AbortSignal): Promise<Result> {
  try {
    await client.create(PrometheusRuleKind, rule, { signal });
    return done;
  } catch (error) {
    if (isAlreadyExists(error)) return done;
    if (isNotFound(error)) return after(RETRY_MS);
    throw error;
  }
}
