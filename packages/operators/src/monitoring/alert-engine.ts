import type { AlertRule, MetricFamily, Rule } from '@slipway/runtime';
import { evaluate, type Labels, type Sample, type SampleSource } from './promql/evaluate.ts';
import { durationMs, type Expression, parsePromql, selectorsIn } from './promql/syntax.ts';
import { SampleHistory } from './sample-history.ts';

/** An alert whose condition holds now. */
export interface ActiveAlert {
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly state: 'pending' | 'firing';
  readonly activeAtMs: number;
  readonly value: number;
}

export interface AlertChange {
  readonly alert: ActiveAlert;
  readonly to: 'firing' | 'resolved';
}

/** What follows the name of a histogram in the names of its samples. */
const SUFFIX = /_(?:bucket|sum|count)$/;

interface Parsed {
  /** Undefined for what is no PromQL. */
  readonly expression: Expression | undefined;
  /** What it looks at. */
  readonly metrics: readonly string[];
}

/** Decides which alerts of some rules are active; keeps from one evaluation to the next what they need of the past. */
export class AlertEngine {
  private readonly parsed = new Map<string, Parsed>();
  private readonly history = new SampleHistory();
  private active = new Map<string, ActiveAlert>();
  /** Rules that are no PromQL, or beyond the part of it that is understood, by their expression. */
  readonly faults = new Map<string, string>();

  alerts(): readonly ActiveAlert[] {
    return [...this.active.values()];
  }

  /** Names of the metrics that the rules look at, recorded ones included: no others need be computed for them. */
  metricsOf(rules: readonly Rule[]): ReadonlySet<string> {
    return new Set(rules.flatMap(({ expr }) => this.parse(expr).metrics));
  }

  /** Decides anew, and says which alerts have begun or ceased to fire. */
  evaluate(rules: readonly Rule[], families: readonly MetricFamily[], nowMs: number): readonly AlertChange[] {
    const known = samplesByName(families, this.metricsOf(rules));
    const expressions = rules.map((rule) => ({ rule, expression: this.parse(rule.expr).expression }));
    this.history.note(
      expressions.flatMap(({ expression }) => (expression ? [expression] : [])),
      known,
      nowMs,
    );
    const source: SampleSource = {
      nowMs,
      now: (name) => known.get(name) ?? [],
      increase: (name, rangeMs) => this.history.increase(name, rangeMs, nowMs),
    };
    const next = new Map<string, ActiveAlert>();
    for (const { rule, expression } of expressions) {
      const samples = expression === undefined ? [] : this.samplesOf(rule.expr, expression, source);
      if ('record' in rule)
        known.set(
          rule.record,
          samples.map(({ labels, value }) => ({ labels: { ...labels, ...rule.labels }, value })),
        );
      else for (const sample of samples) this.activate(next, rule, sample, nowMs);
    }
    const changes = changesBetween(this.active, next);
    this.active = next;
    return changes;
  }

  private parse(expr: string): Parsed {
    const known = this.parsed.get(expr);
    if (known !== undefined) return known;
    let parsed: Parsed = { expression: undefined, metrics: [] };
    try {
      const expression = parsePromql(expr);
      parsed = { expression, metrics: selectorsIn(expression).flatMap(({ name }) => [name, name.replace(SUFFIX, '')]) };
    } catch (error) {
      this.faults.set(expr, error instanceof Error ? error.message : String(error));
    }
    this.parsed.set(expr, parsed);
    return parsed;
  }

  private samplesOf(expr: string, expression: Expression, source: SampleSource): readonly Sample[] {
    try {
      return evaluate(expression, source);
    } catch (error) {
      this.faults.set(expr, error instanceof Error ? error.message : String(error));
      return [];
    }
  }

  private activate(next: Map<string, ActiveAlert>, rule: AlertRule, { labels, value }: Sample, nowMs: number): void {
    const all = { ...labels, ...rule.labels };
    const key = JSON.stringify([rule.alert, Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1))]);
    const activeAtMs = this.active.get(key)?.activeAtMs ?? nowMs;
    const state = nowMs - activeAtMs >= durationMs(rule.for ?? '0s') ? 'firing' : 'pending';
    next.set(key, { name: rule.alert, labels: all, annotations: rule.annotations ?? {}, state, activeAtMs, value });
  }
}

function samplesByName(families: readonly MetricFamily[], wanted: ReadonlySet<string>): Map<string, readonly Sample[]> {
  const known = new Map<string, Sample[]>();
  for (const family of families) {
    if (!wanted.has(family.name)) continue;
    for (const { labels = {}, value, suffix = '' } of family.samples) {
      const samples = known.get(family.name + suffix);
      if (samples === undefined) known.set(family.name + suffix, [{ labels, value }]);
      else samples.push({ labels, value });
    }
  }
  return known;
}

function changesBetween(before: ReadonlyMap<string, ActiveAlert>, after: ReadonlyMap<string, ActiveAlert>): AlertChange[] {
  const fired = [...after].filter(([key, { state }]) => state === 'firing' && before.get(key)?.state !== 'firing');
  const resolved = [...before].filter(([key, { state }]) => state === 'firing' && !after.has(key));
  return [
    ...fired.map(([, alert]): AlertChange => ({ alert, to: 'firing' })),
    ...resolved.map(([, alert]): AlertChange => ({ alert, to: 'resolved' })),
  ];
}
