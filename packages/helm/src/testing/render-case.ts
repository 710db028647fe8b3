import { type Chart, type ChartFile, ChartError } from '../chart/chart.ts';
import { loadChart } from '../chart/load.ts';
import { renderTemplates } from '../render/engine.ts';

/** Values that all template cases see as `.Values`; numbers are float64, as from a values file. */
export const CASE_VALUES = `
name: web
empty: ""
zero: 0
one: 1
port: 8080
big: 1000000
half: 1.5
"yes": true
"no": false
nothing: null
list: [a, b, c]
numbers: [3, 1, 2]
mixed: [1, two, true, null]
emptyList: []
emptyMap: {}
map: {b: 2, a: 1, c: 3}
nested: {one: {two: {three: deep}}}
text: "hello world"
multi: "line one\\nline two"
html: "<b>&'\\"</b>"
unicode: "héllo wörld"
people:
  - {name: ann, age: 30}
  - {name: bob, age: 40}
`;

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A chart from texts by path; `Chart.yaml` is made up when it is not given. */
export function chartOf(files: Readonly<Record<string, string>>): Promise<Chart> {
  const all: ChartFile[] = Object.entries({
    'Chart.yaml': 'apiVersion: v2\nname: t\nversion: 1.2.3\nappVersion: "7.8"\n',
    ...files,
  }).map(([path, text]) => ({ path, data: encode(text) }));
  return loadChart(all);
}

const NOW = Date.UTC(2024, 1, 29, 13, 4, 5, 678);

/** What everything that depends on time and chance is given in tests. */
export const CASE_OPTIONS = {
  capabilities: { kubeVersion: 'v1.30.2', apiVersions: ['kubevirt.io/v1', 'kubevirt.io/v1/VirtualMachine'] },
  release: { name: 'rel', namespace: 'ns', isUpgrade: false, revision: 1n },
  now: () => NOW,
  randomBytes: (count: number) => Uint8Array.from({ length: count }, (_none, index) => (index * 7 + 3) % 256),
};

/** The output of one template text, or `error: ` and the message. */
export async function renderCase(source: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
  const chart = await chartOf({ 'values.yaml': CASE_VALUES, 'templates/x.yaml': source, ...files });
  try {
    return renderTemplates(chart, chart.values, CASE_OPTIONS).get('t/templates/x.yaml') ?? '(none)';
  } catch (error) {
    if (error instanceof ChartError) return `error: ${error.message}`;
    throw error;
  }
}
