import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { freePort, type Platform, startPlatform } from './src/platform.ts';

const hasPrometheus = ['prometheus', 'promtool'].every((program) => spawnSync(program, ['--version']).status === 0);
/** Paths of the server by the job that scrapes them. */
const PATHS = {
  all: '/metrics',
  kubevirt: '/metrics/kubevirt',
  cdi: '/metrics/cdi',
  hco: '/metrics/hco',
  ssp: '/metrics/ssp',
  hpp: '/metrics/hpp',
  server: '/metrics/server',
  federate: '/federate',
} as const;
const byText = (a: string, b: string): number => a.localeCompare(b);
/** Objects with rules: one of each component, and that of the cluster. */
const RULES = 5;
const DASHBOARD = 'console.openshift.io/dashboard=true';
const WAIT = { timeout: 120_000, interval: 250 };

interface Target {
  readonly labels: { readonly job: string };
  readonly health: string;
  readonly lastError: string;
}

/** A Prometheus of Debian beside a platform without guests; the package is installed with the others that tests need. */
describe.skipIf(!hasPrometheus)('a Prometheus', () => {
  let platform: Platform;
  let scratch: string;
  let prometheus: ChildProcess;
  let url: string;

  const ask = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${url}${path}`);
    const { status, data } = (await response.json()) as { status: string; data: T };
    expect(status).toBe('success');
    return data;
  };
  /** Value of each job, or of each set of labels. */
  const query = async (expression: string): Promise<readonly { metric: Record<string, string>; value: number }[]> => {
    const { result } = await ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
      `/api/v1/query?query=${encodeURIComponent(expression)}`,
    );
    return result.map(({ metric, value: [, text] }) => ({ metric, value: Number(text) }));
  };

  beforeAll(async () => {
    scratch = mkdtempSync('/tmp/sw-e2e-prometheus-');
    platform = await startPlatform();
    const token = await platform.slipway('token', '--admin');
    writeFileSync(join(scratch, 'token'), token.stdout.trim());
    const rules = await platform.until<{ items: { metadata: { name: string }; spec: object }[] }>(
      'prometheusrules -n openshift-cnv',
      ({ items }) => items.length === RULES,
    );
    for (const { metadata, spec } of rules.items) writeFileSync(join(scratch, `${metadata.name}.json`), JSON.stringify(spec));
    writeFileSync(join(scratch, 'prometheus.yml'), JSON.stringify(configuration(platform.port, scratch)));
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    prometheus = spawn(
      'prometheus',
      [
        `--config.file=${join(scratch, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(scratch, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
    await vi.waitFor(async () => expect((await fetch(`${url}/-/ready`)).status).toBe(200), WAIT);
  });

  afterAll(async () => {
    if (prometheus?.exitCode === null && prometheus.signalCode === null) {
      const ended = new Promise((resolve) => prometheus.once('close', resolve));
      prometheus.kill();
      await ended;
    }
    rmSync(scratch, { recursive: true, force: true });
    await platform?.destroy();
  });

  it('scrapes each component and the whole without an error', async () => {
    const jobs = Object.keys(PATHS);
    await vi.waitFor(async () => {
      const { activeTargets } = await ask<{ activeTargets: Target[] }>('/api/v1/targets');
      expect(
        activeTargets.map(({ labels, health, lastError }) => `${labels.job} ${health} ${lastError}`).toSorted(byText),
      ).toEqual(jobs.map((job) => `${job} up `).toSorted(byText));
    }, WAIT);
    expect((await query('up == 1')).map(({ metric }) => metric['job'] ?? '').toSorted(byText)).toEqual(jobs.toSorted(byText));
    for (const { metric, value } of await query('scrape_samples_scraped'))
      expect({ job: metric['job'], isSome: value > 0 }).toEqual({ job: metric['job'], isSome: true });
    // nothing was dropped on the way into the database
    expect(await query('scrape_samples_scraped != scrape_samples_post_metric_relabeling')).toEqual([]);
    const own = await (await fetch(`${url}/metrics`)).text();
    const faults = own
      .split('\n')
      .filter((line) => /^prometheus_target_scrapes_(?:sample_|exceeded_|.*rejected|cache_flush).*_total/.test(line));
    expect(faults.length).toBeGreaterThan(3);
    expect(faults.filter((line) => !line.endsWith(' 0'))).toEqual([]);
  });

  it('loads the rules of the platform, and evaluates them', async () => {
    await vi.waitFor(async () => {
      const { groups } = await ask<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>(
        '/api/v1/rules',
      );
      const rules = groups.flatMap((group) => group.rules);
      expect(rules.length).toBeGreaterThan(100);
      expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
    }, WAIT);
    // three jobs show the one virt-api: all, kubevirt and federate
    await vi.waitFor(async () => expect(await query('cluster:kubevirt_virt_api_up:sum')).toMatchObject([{ value: 3 }]), WAIT);
  });

  it('answers every panel of the dashboards', async () => {
    const boards = await vi.waitFor(async () => {
      const { items } = JSON.parse(
        await platform.kubectl('get', 'configmaps', '-n', 'openshift-config-managed', '-l', DASHBOARD, '-o', 'json'),
      ) as { items: { data: Record<string, string> }[] };
      expect(items.length).toBe(4);
      return items.flatMap(({ data }) => Object.entries(data));
    }, WAIT);
    // those whose answer is empty; rates need two looks
    const silentOf = async (text: string): Promise<readonly string[]> => {
      const { panels } = JSON.parse(text) as { panels: { title: string; targets?: { expr: string }[] }[] };
      const silent: string[] = [];
      for (const { title, targets = [] } of panels)
        for (const { expr } of targets) {
          const results = await query(expr.replace(/\$__\w+/g, '1m').replace(/\$\w+/g, '.+'));
          if (results.length === 0) silent.push(`${title}: ${expr}`);
        }
      return silent;
    };
    const ofServer = Object.fromEntries(boards)['slipway-control-plane.json'] ?? '';
    for (const [, text] of boards) await silentOf(text);
    // without a guest, and without a refusal: of all else the platform has something to show
    await vi.waitFor(
      async () => expect((await silentOf(ofServer)).filter((panel) => !panel.startsWith('Refusals and failures'))).toEqual([]),
      WAIT,
    );
    const written = await platform.slipway('dashboards', 'slipway-control-plane');
    expect(written.stdout).toBe(ofServer);
  });

  it('takes the text of the metrics as it should be', async () => {
    const text = await platform.kubectl('get', '--raw', '/metrics');
    const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    // what promtool says beyond that is about names that are KubeVirt's, or kube-apiserver's
    expect(checked.stderr).not.toMatch(/error while linting|text format parsing error/);
    expect(text).toMatch(/^kubevirt_workqueue_adds_total\{name="virtualmachine-controller"\}/m);
    expect(text).toMatch(/^kubevirt_rest_client_requests_total\{container="virt-operator",code="20[01]"/m);
    expect(text).toMatch(/^workqueue_depth\{name="datavolume-controller"\} \d+$/m);
  });
});

const configuration = (port: number, scratch: string) => ({
  global: { scrape_interval: '2s', evaluation_interval: '2s' },
  rule_files: [join(scratch, '*.json')],
  scrape_configs: Object.entries(PATHS).map(([job_name, metrics_path]) => ({
    ...{ job_name, metrics_path, scheme: 'https' },
    honor_labels: true,
    bearer_token_file: join(scratch, 'token'),
    tls_config: { insecure_skip_verify: true },
    static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    ...(job_name === 'federate' && { params: { 'match[]': ['{__name__=~"kubevirt_.*|workqueue_.*"}'] } }),
  })),
});
