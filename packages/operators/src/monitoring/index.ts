import { formatTime, keyOf } from '@slipway/apimachinery';
import {
  allow,
  type ControllerRegistration,
  done,
  type EventRecorder,
  type MetricFamily,
  type MetricFilter,
  type PrometheusRule,
  PrometheusRuleKind,
  type Rule,
  sleep,
} from '@slipway/runtime';
import { HCO_NAME, HyperConvergedKind } from '../kinds.ts';
import { HostPathProvisionerKind, NodeKind } from '@slipway/api';
import { clusterMetrics } from './cluster-metrics.ts';
import { ensureObject } from './ensure-object.ts';
import { type ActiveAlert, type AlertChange, AlertEngine } from './alert-engine.ts';
import { prometheusRules } from './rules/index.ts';

const EVALUATION_MS = 60_000;

export interface AlertSources {
  /** Metrics of the platform now, those that are wanted and perhaps others. */
  readonly families: (wanted: MetricFilter) => Promise<readonly MetricFamily[]>;
  /** Rules of components beside the operators, for the namespace of the platform. */
  readonly rules?: (namespace: string) => readonly PrometheusRule[];
}

/** As Prometheus' API describes alerts. */
export interface ListedAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
  readonly activeAt: string;
  readonly value: string;
}

/** Writes the rules of the platform for a Prometheus, and evaluates them where there is none. */
export function alerting({ families, rules }: AlertSources): {
  registration: ControllerRegistration;
  alerts: () => readonly ListedAlert[];
  /** When the rules were evaluated last. */
  evaluatedAtMs: () => number | undefined;
} {
  const engine = new AlertEngine();
  let evaluatedAtMs: number | undefined;
  const registration: ControllerRegistration = {
    name: 'alerts',
    rules: allow('create update', PrometheusRuleKind),
    create({ client, clock, events, informers, log, settings }) {
      const objects = informers.lister(PrometheusRuleKind);
      const hcos = informers.lister(HyperConvergedKind);
      const [nodes, provisioners] = [informers.lister(NodeKind), informers.lister(HostPathProvisionerKind)];
      const own = [...prometheusRules(settings.installNamespace), ...(rules?.(settings.installNamespace) ?? [])];
      const evaluate = async (): Promise<void> => {
        const atMs = clock.now();
        const found = rulesOf(objects.list(), settings.installNamespace);
        const names = engine.metricsOf(found);
        const changes = engine.evaluate(found, await families((name) => names.has(name)), atMs);
        const [hco] = hcos.list().filter(({ metadata }) => metadata.name === HCO_NAME);
        for (const change of changes) {
          log.info({ alert: change.alert.name, labels: change.alert.labels, state: change.to }, 'alert');
          if (hco !== undefined) report(events, hco, change);
        }
        evaluatedAtMs = atMs;
      };
      return {
        kind: PrometheusRuleKind,
        concurrency: 1,
        metrics: () => clusterMetrics({ nodes: nodes.list(), provisioners: provisioners.list() }),
        reconciler: {
          async reconcile(key, signal) {
            const rule = own.find((each) => keyOf(each).name === key.name && keyOf(each).namespace === key.namespace);
            if (rule !== undefined) await ensureObject(client, PrometheusRuleKind, rule, objects.get(key), signal);
            return done;
          },
        },
        async run(queue, signal) {
          for (const rule of own) queue.add(keyOf(rule));
          while (!signal.aborted) {
            await sleep(clock, EVALUATION_MS, signal).catch(() => {});
            if (signal.aborted) return;
            await evaluate().catch((error: unknown) => log.warn({ error: String(error) }, 'alerts not evaluated'));
          }
        },
      };
    },
  };
  return { registration, alerts: () => engine.alerts().map(listed), evaluatedAtMs: () => evaluatedAtMs };
}

/** Those of the platform's namespace: who may write there is an administrator. */
const rulesOf = (objects: readonly PrometheusRule[], namespace: string): readonly Rule[] =>
  objects
    .filter(({ metadata }) => metadata.namespace === namespace)
    .flatMap(({ spec }) => spec?.groups ?? [])
    .flatMap(({ rules }) => rules ?? [])
    .sort((a, b) => Number('alert' in a) - Number('alert' in b));

const listed = ({ name, labels, annotations, state, activeAtMs, value }: ActiveAlert): ListedAlert => ({
  labels: { alertname: name, ...labels },
  annotations,
  state,
  activeAt: formatTime(activeAtMs),
  value: String(value),
});

function report(events: EventRecorder, about: Parameters<EventRecorder['normal']>[0], { alert, to }: AlertChange): void {
  const { name, labels, annotations } = alert;
  const subject = ['namespace', 'name', 'node', 'storageclass', 'component_name']
    .flatMap((label) => labels[label] ?? [])
    .join('/');
  const message = `${name}${subject === '' ? '' : ` of ${subject}`}: ${annotations['summary'] ?? ''}`;
  if (to === 'resolved') events.normal(about, 'AlertResolved', message);
  else if (labels['severity'] === 'info') events.normal(about, 'AlertFiring', message);
  else events.warning(about, 'AlertFiring', message);
}
