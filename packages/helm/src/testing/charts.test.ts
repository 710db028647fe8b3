import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ChartError, type ChartFile, textOfFile } from '../chart/chart.ts';
import { loadChart, parseValues } from '../chart/load.ts';
import { setValues } from '../chart/set-values.ts';
import { templateChart } from '../render/template-chart.ts';
import { CASE_OPTIONS } from './render-case.ts';

const CHARTS = fileURLToPath(new URL('../../charts', import.meta.url));

function filesOf(name: string): ChartFile[] {
  const directory = join(CHARTS, name);
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort()
    .map((path) => ({ path, data: readFileSync(join(directory, path)) }));
}

async function render(name: string, set: readonly string[] = [], values = ''): Promise<string> {
  const user = parseValues(values);
  for (const line of set) setValues(user, line);
  const { manifests, hooks, crds, notes } = templateChart(await loadChart(filesOf(name)), user, CASE_OPTIONS);
  const blocks = [
    ...crds.map((file) => `# CRD: ${file.path}\n${textOfFile(file).trimEnd()}`),
    ...manifests.map(({ source, text }) => `# Source: ${source}\n${text}`),
    ...hooks.map(
      ({ source, text, events, weight, deletePolicies }) =>
        `# Hook ${events.join(',')} ${weight} ${deletePolicies.join(',')}: ${source}\n${text}`,
    ),
    ...(notes === '' ? [] : [`# Notes\n${notes}`]),
  ];
  return blocks.map((block) => `---\n${block}\n`).join('');
}

const refusal = async (work: () => Promise<unknown>): Promise<string> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof ChartError) return error.message;
    throw error;
  }
  return 'accepted';
};

describe('charts of the repository', () => {
  it.each(readdirSync(CHARTS).filter((name) => name !== '__golden__'))('%s', async (name) => {
    await expect(await render(name)).toMatchFileSnapshot(join(CHARTS, '__golden__', `${name}.yaml`));
  });
});

describe('values', () => {
  it('from the user win, and null takes a default away', async () => {
    expect(await render('web', ['replicaCount=5', 'ingress.hosts[0].host=other.example', 'ingress.className=null'])).toContain(
      'replicas: 5',
    );
    expect(await render('web', ['ingress.className=null'])).not.toContain('ingressClassName');
    expect(await render('web', ['autoscaling.enabled=true'])).toContain('HorizontalPodAutoscaler');
  });

  it('switch subcharts off by condition and tag', async () => {
    const off = await render('umbrella', ['cache.enabled=false', 'ttl=none']);
    expect(off).not.toContain('name: cache');
    expect(await refusal(() => render('umbrella', ['tags.reporting=false']))).toContain(
      'nil pointer evaluating interface {}.port',
    );
  });

  it('are refused by the schema with the place', async () => {
    const text = await refusal(() =>
      render('with-schema', [], 'machines: [{name: Bad_Name, cores: 0, extra: 1}]\nnetwork: {mode: bridge}\n'),
    );
    const [head, chart, ...lines] = text.trimEnd().split('\n');
    expect([head, chart]).toEqual([
      "values don't meet the specifications of the schema(s) in the following chart(s):",
      'with-schema:',
    ]);
    expect(lines.sort()).toEqual([
      "- at '/machines/0': additional properties 'extra' not allowed",
      "- at '/machines/0': missing property 'memory'",
      "- at '/machines/0/cores': minimum: got 0, want 1",
      "- at '/machines/0/name': 'Bad_Name' does not match pattern '^[a-z][a-z0-9-]*$'",
      "- at '/network': missing property 'bridge'",
    ]);
  });
});

describe('charts that are refused', () => {
  it.each([
    [{ 'values.yaml': 'a: 1' }, 'Chart.yaml file is missing'],
    [{ 'Chart.yaml': 'apiVersion: v2\nversion: 1.0.0\n' }, 'validation: chart.metadata.name is required'],
    [{ 'Chart.yaml': 'apiVersion: v2\nname: x\n' }, 'validation: chart.metadata.version is required'],
    [{ 'Chart.yaml': 'apiVersion: v2\nname: x\nversion: 1.0.0\ntype: library\n' }, 'library charts are not installable'],
    [
      { 'Chart.yaml': 'apiVersion: v2\nname: x\nversion: 1.0.0\nkubeVersion: ">=1.99"\n' },
      'chart requires kubeVersion: >=1.99 which is incompatible with Kubernetes v1.30.2',
    ],
    [
      { 'Chart.yaml': 'apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies: [{name: gone, version: 1.0.0}]\n' },
      'found in Chart.yaml, but missing in charts/ directory: gone',
    ],
    [
      { 'Chart.yaml': 'apiVersion: v2\nname: x\nversion: 1.0.0\n', 'templates/a.yaml': 'a: [' },
      'YAML parse error on x/templates/a.yaml: error converting YAML to JSON: yaml: line',
    ],
  ])('%o', async (files, message) => {
    const all = Object.entries(files).map(([path, text]) => ({ path, data: new TextEncoder().encode(text) }));
    expect(await refusal(async () => templateChart(await loadChart(all), new Map(), CASE_OPTIONS))).toContain(message);
  });
});
