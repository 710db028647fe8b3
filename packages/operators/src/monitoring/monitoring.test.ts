import { Histogram, type MetricFamily, type Rule } from '@slipway/runtime';
import { describe, expect, it } from 'vitest';
import { AlertEngine } from './alert-engine.ts';
import { evaluate, type Sample } from './promql/evaluate.ts';
import { parsePromql } from './promql/syntax.ts';
import { prometheusRules } from './rules/index.ts';

const samples: Readonly<Record<string, readonly Sample[]>> = {
  m: [
    { labels: { a: '1', b: 'x' }, value: 3 },
    { labels: { a: '2', b: 'x' }, value: 5 },
  ],
  n: [{ labels: { a: '1' }, value: 2 }],
};
const ask = (expr: string) =>
  evaluate(parsePromql(expr), {
    nowMs: 60_000,
    now: (name) => samples[name] ?? [],
    increase: () => [{ labels: { a: '1' }, value: 30, overMs: 60_000 }],
  });

describe('the part of PromQL that rules are written in', () => {
  it.each([
    ['1 + 2 * 3', [[{}, 7]]],
    ['sum(m)', [[{}, 8]]],
    ['sum by (b) (m)', [[{ b: 'x' }, 8]]],
    [
      'count(m) by (a)',
      [
        [{ a: '1' }, 1],
        [{ a: '2' }, 1],
      ],
    ],
    ['max without (a) (m)', [[{ b: 'x' }, 5]]],
    ['m{a="2"}', [[{ a: '2', b: 'x' }, 5]]],
    ["m{a=~'2|3'} > 4", [[{ a: '2', b: 'x' }, 5]]],
    ['m{a!="2"} == 4', []],
    [
      'm > bool 4',
      [
        [{ a: '1', b: 'x' }, 0],
        [{ a: '2', b: 'x' }, 1],
      ],
    ],
    ['absent_metric or vector(0)', [[{}, 0]]],
    ['sum(absent_metric or on() vector(0)) + 1', [[{}, 1]]],
    ['m and on (a) n', [[{ a: '1', b: 'x' }, 3]]],
    ['m unless on (a) n', [[{ a: '2', b: 'x' }, 5]]],
    ['m * on (a) group_left() n', [[{ a: '1', b: 'x' }, 6]]],
    ['sum by (a) (m) / n', [[{ a: '1' }, 1.5]]],
    ['rate(m[5m])', [[{ a: '1' }, 0.5]]],
    ['increase(m[5m]) > 20', [[{ a: '1' }, 30]]],
    ['n > time() - 59', [[{ a: '1' }, 2]]],
    ['2 - -1', [[{}, 3]]],
  ] as const)('%s', (expr, expected) => {
    expect(ask(expr).map(({ labels, value }) => [labels, value])).toEqual(expected);
  });

  it.each(['sum(', 'm{a=1}', 'm )', 'histogram_quantile(0.9, m)', '§'])('refuses %s', (expr) => {
    expect(() => ask(expr)).toThrow();
  });
});

describe('the rules of the platform', () => {
  const rules = prometheusRules('openshift-cnv').flatMap(({ spec }) =>
    (spec?.groups ?? []).flatMap(({ rules: all }) => all ?? []),
  );
  const family = (name: string, value: number, labels = {}): MetricFamily => ({
    name,
    help: '',
    type: 'gauge',
    samples: [{ labels, value }],
  });
  /** What an installation that works shows. */
  const GOOD = [
    ...['api', 'controller', 'operator', 'handler'].map((part) => family(`kubevirt_virt_${part}_ready_status`, 1)),
    ...['controller', 'operator'].map((part) => family(`kubevirt_virt_${part}_leading_status`, 1)),
    family('kubevirt_node_schedulable', 1, { node: 'a' }),
    family('kubevirt_node_has_kvm', 1, { node: 'a' }),
    family('kubevirt_hco_hyperconverged_cr_exists', 1),
    family('kubevirt_hco_system_health_status', 0),
    family('kubevirt_hpp_cr_ready', -1),
    family('kubevirt_ssp_operator_reconcile_succeeded', 1),
    family('kubevirt_ssp_template_validator_rejected_total', 0),
    family('kubevirt_vm_info', 1, { name: 'web', namespace: 'shop', status: 'running' }),
  ];
  const without = (name: string) => GOOD.filter((each) => each.name !== name);
  /** Of two, one. */
  const withUnreadyServer = (part: string) => [...GOOD, family(`kubevirt_virt_${part}_ready_status`, 0, { pod: 'second' })];
  const firing = (faulty: readonly MetricFamily[]) => {
    const engine = new AlertEngine();
    engine.evaluate(rules, GOOD, 0);
    engine.evaluate(rules, faulty, 60_000);
    engine.evaluate(rules, faulty, 60_000 + 24 * 3_600_000);
    expect([...engine.faults]).toEqual([]);
    return engine.alerts().flatMap(({ name, state }) => (state === 'firing' ? [name] : []));
  };

  it('hold nothing against an installation that works', () => expect(firing(GOOD)).toEqual([]));

  it.each([
    ['VirtAPIDown', without('kubevirt_virt_api_ready_status')],
    ['NoReadyVirtHandler', [...without('kubevirt_virt_handler_ready_status'), family('kubevirt_virt_handler_ready_status', 0)]],
    ['NoLeadingVirtController', without('kubevirt_virt_controller_leading_status')],
    ['LowReadyVirtAPICount', withUnreadyServer('api')],
    ['LowReadyVirtControllersCount', withUnreadyServer('controller')],
    ['LowReadyVirtOperatorsCount', withUnreadyServer('operator')],
    ['HPPOperatorDown', without('kubevirt_hpp_cr_ready')],
    ['KubeVirtNoAvailableNodesToRunVMs', [...without('kubevirt_node_schedulable'), family('kubevirt_node_schedulable', 0)]],
    [
      'HCOOperatorConditionsUnhealthy',
      [...without('kubevirt_hco_system_health_status'), family('kubevirt_hco_system_health_status', 2)],
    ],
    [
      'HCOInstallationIncomplete',
      [...without('kubevirt_hco_hyperconverged_cr_exists'), family('kubevirt_hco_hyperconverged_cr_exists', 0)],
    ],
    ['UnsupportedHCOModification', [...GOOD, family('kubevirt_hco_unsafe_modifications', 1, { annotation_name: 'x' })]],
    ['VMCannotBeEvicted', [...GOOD, family('kubevirt_vmi_non_evictable', 1, { name: 'web' })]],
    [
      'VirtualMachineStuckInUnhealthyState',
      [...GOOD, family('kubevirt_vm_info', 1, { name: 'b', namespace: 's', status: 'errorunschedulable' })],
    ],
    [
      'SSPFailingToReconcile',
      [...without('kubevirt_ssp_operator_reconcile_succeeded'), family('kubevirt_ssp_operator_reconcile_succeeded', 0)],
    ],
    [
      'GuestFilesystemAlmostOutOfSpace',
      [
        ...GOOD,
        family('kubevirt_vmi_filesystem_used_bytes', 96, { name: 'w' }),
        family('kubevirt_vmi_filesystem_capacity_bytes', 100, { name: 'w' }),
      ],
    ],
  ])('fire %s for its fault', (alert, faulty) => {
    expect(firing(faulty)).toContain(alert);
  });

  it('fire KubeVirtCRModified for an edit that was undone, and resolve it later', () => {
    const engine = new AlertEngine();
    const at = (minutes: number, count: number) =>
      engine
        .evaluate(
          rules,
          [...GOOD, family('kubevirt_hco_out_of_band_modifications_total', count, { component_name: 'kubevirt/k' })],
          minutes * 60_000,
        )
        .map(({ alert, to }) => `${alert.name} ${to}`);
    expect([at(0, 0), at(1, 1), at(2, 1), at(12, 1)]).toEqual([
      [],
      ['KubeVirtCRModified firing'],
      [],
      ['KubeVirtCRModified resolved'],
    ]);
  });

  it('look at no metric but those that they name', () => {
    const engine = new AlertEngine();
    const names = engine.metricsOf(rules);
    expect(names).toContain('kubevirt_rest_client_requests_total');
    expect(names).not.toContain('kubevirt_rest_client_request_latency_seconds');
    const untouched: MetricFamily = {
      ...{ name: 'kubevirt_rest_client_request_latency_seconds', help: '', type: 'histogram' },
      get samples(): never {
        throw new Error('nobody asked for them');
      },
    };
    expect(engine.evaluate(rules, [...GOOD, untouched], 0)).toEqual([]);
  });

  it('may be about the samples of a histogram', () => {
    const histogram = new Histogram({ name: 'answers_seconds', help: '', bounds: [0.1, 1] });
    for (const seconds of [0.05, 0.5, 5]) histogram.observe({ verb: 'get' }, seconds);
    const about: Rule[] = ['answers_seconds_count == 3', 'answers_seconds_bucket{le="1"} == 2', 'answers_seconds_sum > 5'].map(
      (expr, index) => ({ alert: `Histogram${index}`, expr }),
    );
    const engine = new AlertEngine();
    expect(engine.metricsOf(about)).toContain('answers_seconds');
    engine.evaluate(about, [histogram.family()], 0);
    expect(engine.alerts().map(({ name }) => name)).toEqual(['Histogram0', 'Histogram1', 'Histogram2']);
  });
});
