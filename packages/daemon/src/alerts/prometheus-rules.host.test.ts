import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { dashboardFiles } from '@slipway/operators';
import { PrometheusRuleKind } from '@slipway/runtime';
import { expect, it } from 'vitest';
import { monitoredWorld } from './testing/monitored-world.ts';

const run = promisify(execFile);
const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

// the Debian package `prometheus` has it; without it there is nothing to ask
it.skipIf(!hasPromtool)('Prometheus itself finds no fault in the rules', async () => {
  const { world } = await monitoredWorld();
  const directory = mkdtempSync('/tmp/sw-promtool-');
  try {
    const objects = await world.list(PrometheusRuleKind, 'openshift-cnv');
    expect(new Set(objects.map(({ metadata }) => metadata.name))).toEqual(
      new Set([
        'kubevirt-hyperconverged-prometheus-rule',
        'prometheus-cdi-rules',
        'prometheus-hpp-rules',
        'prometheus-k8s-rules-cnv',
        'prometheus-kubevirt-rules',
      ]),
    );
    for (const { metadata, spec } of objects) {
      const file = join(directory, `${metadata.name}.json`); // JSON is YAML
      writeFileSync(file, JSON.stringify(spec));
      const { stdout } = await run('promtool', ['check', 'rules', file]);
      const count = (spec?.groups ?? []).flatMap(({ rules = [] }) => rules).length;
      expect(stdout).toMatch(new RegExp(`SUCCESS: ${count} rules found`));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
    await world.close();
  }
});

it.skipIf(!hasPromtool)('and none in the expressions of the dashboards', async () => {
  const directory = mkdtempSync('/tmp/sw-promtool-');
  try {
    for (const { name, text } of dashboardFiles()) {
      const { panels } = JSON.parse(text) as { panels: readonly { targets?: readonly { expr: string }[] }[] };
      const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
      // what Grafana fills in before it asks
      const rules = expressions.map((expr, index) => ({
        record: `panel:${index}`,
        expr: expr.replace(/\$__\w+/g, '5m').replace(/\$\w+/g, '.+'),
      }));
      const file = join(directory, `${name}.json`);
      writeFileSync(file, JSON.stringify({ groups: [{ name, rules }] }));
      const { stdout } = await run('promtool', ['check', 'rules', file]);
      expect(stdout).toMatch(new RegExp(`SUCCESS: ${rules.length} rules found`));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
