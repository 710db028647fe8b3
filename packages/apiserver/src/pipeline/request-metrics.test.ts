import { Histogram } from '@slipway/runtime';
import { describe, expect, it } from 'vitest';
import { renderFamily } from './metric-text.ts';
import { RequestMetrics } from './request-metrics.ts';
import type { AuditEvent } from './server-context.ts';

const event = (overrides: Partial<AuditEvent>): AuditEvent => ({
  level: 'Metadata',
  ...{ auditId: '', time: '', user: 'me', groups: [], sourceAddress: '127.0.0.1', userAgent: 'kubectl/1' },
  ...{ verb: 'get', path: '/api/v1/namespaces/default/pods/one', code: 200, latencyMs: 1 },
  ...overrides,
});

const rendered = (...events: AuditEvent[]): string[] => {
  const metrics = new RequestMetrics();
  for (const one of events) metrics.count(one);
  return metrics
    .families()
    .map(renderFamily)
    .join('')
    .split('\n')
    .filter((line) => line.startsWith('apiserver_request_total'));
};

describe('request metrics', () => {
  it('sums requests that differ in names alone', () => {
    expect(rendered(event({}), event({ path: '/api/v1/namespaces/other/pods/two' }))).toEqual([
      'apiserver_request_total{client="other",code="200",group="",resource="pods",subresource="",verb="get"} 2',
    ]);
  });

  it('tells controllers, nodes and subresources apart', () => {
    const path = '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/vm/status';
    const lines = rendered(
      event({ path, verb: 'update', sourceAddress: 'in-process', userAgent: 'vm-controller' }),
      event({ path: '/api/v1/nodes/n', verb: 'patch', user: 'system:node:n' }),
      event({ path: '/api/v1/namespaces/default', verb: 'delete' }),
    );
    expect(lines).toEqual([
      'apiserver_request_total{client="node",code="200",group="",resource="nodes",subresource="",verb="patch"} 1',
      'apiserver_request_total{client="other",code="200",group="",resource="namespaces",subresource="",verb="delete"} 1',
      'apiserver_request_total{client="vm-controller",code="200",group="kubevirt.io",resource="virtualmachineinstances",subresource="status",verb="update"} 1',
    ]);
  });

  it('shows the requests of a part of the platform as its own', () => {
    const metrics = new RequestMetrics((client) =>
      client === 'vm-controller' ? { container: 'virt-controller', prefix: 'kubevirt_' } : undefined,
    );
    const path = '/apis/kubevirt.io/v1/namespaces/default/virtualmachines/vm';
    for (const verb of ['update', 'update', 'watch'])
      metrics.count(event({ path, verb, sourceAddress: 'in-process', userAgent: 'vm-controller', latencyMs: 3 }));
    metrics.count(event({}));
    const [, requests, latency] = metrics.families();
    const own = { container: 'virt-controller', code: '200', host: 'in-process', resource: 'virtualmachines' };
    expect(requests).toMatchObject({
      name: 'kubevirt_rest_client_requests_total',
      samples: [
        { labels: { ...own, method: 'PUT', verb: 'update' }, value: 2 },
        { labels: { ...own, method: 'GET', verb: 'watch' }, value: 1 },
      ],
    });
    expect(latency?.name).toBe('kubevirt_rest_client_request_latency_seconds');
    expect(latency?.samples).toContainEqual({
      suffix: '_count',
      labels: { container: 'virt-controller', url: '/apis/kubevirt.io/virtualmachines', verb: 'update' },
      value: 2,
    });
  });

  it('shows how long answers took, of all clients together, without watches and streams', () => {
    const metrics = new RequestMetrics();
    for (const latencyMs of [3, 300]) metrics.count(event({ latencyMs }));
    metrics.count(event({ verb: 'watch', latencyMs: 60_000 }));
    metrics.count(event({ code: 101, latencyMs: 60_000 }));
    const durations = metrics.families().find(({ name }) => name === 'apiserver_request_duration_seconds');
    const of = (suffix: string, le?: string) =>
      durations?.samples.find((sample) => sample.suffix === suffix && sample.labels?.['le'] === le)?.value;
    expect([of('_bucket', '0.005'), of('_bucket', '0.25'), of('_bucket', '0.5'), of('_count')]).toEqual([1, 1, 2, 2]);
    expect(durations?.samples.every(({ labels }) => labels?.['verb'] === 'get')).toBe(true);
  });

  it('keeps what strangers make up out of the labels', () => {
    expect(rendered(event({ path: '/apis/evil"/v1/x', code: 404 }), event({ path: '/apis/b/v1/y', code: 404 }))).toEqual([
      'apiserver_request_total{client="other",code="404",group="",resource="",subresource="",verb="get"} 2',
    ]);
  });

  it('makes only what somebody wants', () => {
    const metrics = new RequestMetrics(() => ({ container: 'virt-controller', prefix: 'kubevirt_' }));
    metrics.count(event({}));
    const names = (wanted: (name: string) => boolean) =>
      metrics.families(wanted).flatMap(({ name, type }) => (type === 'histogram' ? [] : [name]));
    expect(names(() => true)).toEqual(['apiserver_request_total', 'kubevirt_rest_client_requests_total']);
    expect(names((name) => name.startsWith('kubevirt_'))).toEqual(['kubevirt_rest_client_requests_total']);
    expect(names(() => false)).toEqual([]);
  });

  it('writes a histogram as its samples would be written', () => {
    const histogram = new Histogram({ name: 'x_seconds', help: 'X.', bounds: [0.25, 1] });
    histogram.observe({ path: 'a"b\\c', verb: 'get' }, 0.5);
    histogram.observe({ path: 'a"b\\c', verb: 'get' }, 30);
    histogram.observe({}, 0.1);
    const family = histogram.family();
    const { buckets: _, ...plain } = { ...family, samples: family.samples };
    expect(renderFamily(family)).toBe(renderFamily(plain));
    expect(renderFamily(family).split('\n')).toEqual([
      '# HELP x_seconds X.',
      '# TYPE x_seconds histogram',
      'x_seconds_bucket{path="a\\"b\\\\c",verb="get",le="0.25"} 0',
      'x_seconds_bucket{path="a\\"b\\\\c",verb="get",le="1"} 1',
      'x_seconds_bucket{path="a\\"b\\\\c",verb="get",le="+Inf"} 2',
      'x_seconds_sum{path="a\\"b\\\\c",verb="get"} 30.5',
      'x_seconds_count{path="a\\"b\\\\c",verb="get"} 2',
      'x_seconds_bucket{le="0.25"} 1',
      'x_seconds_bucket{le="1"} 1',
      'x_seconds_bucket{le="+Inf"} 1',
      'x_seconds_sum 0.1',
      'x_seconds_count 1',
      '',
    ]);
  });
});
