import type { MetricFamily, MetricSample } from '@slipway/runtime';

/** What nobody knows is an empty label. */
export type Labels = Readonly<Record<string, string | undefined>>;

/** Collects the samples of many objects by metric. */
export class Families {
  private readonly byName = new Map<string, { type: MetricFamily['type']; help: string; samples: MetricSample[] }>();

  /** Declared metrics are shown even without samples, so that a rule can ask for them. */
  declare(type: MetricFamily['type'], metrics: Readonly<Record<string, string>>): this {
    for (const [name, help] of Object.entries(metrics)) this.byName.set(name, { type, help, samples: [] });
    return this;
  }

  /** Undefined values are left out: nobody knows them. */
  add(name: string, labels: Labels, value: number | undefined): void {
    const family = this.byName.get(name);
    if (family === undefined) throw new Error(`The metric ${name} is not declared`);
    if (value !== undefined && Number.isFinite(value)) family.samples.push({ labels: complete(labels), value });
  }

  list(): MetricFamily[] {
    return [...this.byName].map(([name, family]) => ({ name, ...family }));
  }
}

const complete = (labels: Labels): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).map(([name, value = '']) => [name, value]));

/** Seconds of a time in an object. */
export const secondsOf = (time: string | null | undefined): number | undefined =>
  typeof time === 'string' ? Date.parse(time) / 1000 : undefined;

/** Text of an annotation of a guest's system, as metrics have it. */
export const annotationOf = (annotations: Readonly<Record<string, string>> | undefined, ...names: readonly string[]): string =>
  names.map((name) => annotations?.[name]).find((value) => value !== undefined) ?? NONE;

/** A label that has no value. */
export const NONE = '<none>';
