import { describe, expect, it } from 'vitest';
import { type DownwardMetrics, diskWrites, METRICS_DISK_BYTES, metricsDocument, RequestReader } from './metrics-document.ts';
import { parseHostFigures, parseProcessSeconds } from './read-metrics.ts';

const METRICS: DownwardMetrics = {
  ...{ hostName: 'a<b', timeSeconds: 12.7, cpuCount: 2, hostCpuSeconds: 1.5, memoryTotalKiB: 1000, memoryFreeKiB: 200 },
  ...{ memoryAvailableKiB: 400, swapTotalKiB: 50, swapFreeKiB: 20, pagedInKiB: 4, pagedOutKiB: 8 },
  ...{ guestCpuSeconds: 0.25, guestCpus: 1, guestMemoryKiB: 131072 },
};

describe('metricsDocument', () => {
  it('tells of host and guest', () => {
    const text = metricsDocument(METRICS);
    expect(text).toContain('<metric type="string" context="host">\n    <name>HostName</name>\n    <value>a&lt;b</value>');
    expect(text).toContain(
      '<metric type="real64" context="vm" unit="s">\n    <name>TotalCPUTime</name>\n    <value>0.25</value>',
    );
    expect(text).toMatch(/UsedVirtualMemory<\/name>\s+<value>630</);
  });
});

describe('diskWrites', () => {
  it('marks the disk as busy until the document is whole', () => {
    const [busy, body, ready] = diskWrites('ab');
    expect([busy?.position, busy?.data.toString('hex')]).toEqual([0, '6d76626400000001000000c300000002']);
    expect([body?.position, body?.data.toString()]).toEqual([16, 'ab']);
    expect(ready?.data.toString('hex')).toBe('6d76626400000000000000c300000002');
  });

  it('never writes beyond the disk', () => {
    const [, body] = diskWrites('x'.repeat(METRICS_DISK_BYTES));
    expect((body?.position ?? 0) + (body?.data.length ?? 0)).toBe(METRICS_DISK_BYTES);
  });
});

describe('RequestReader', () => {
  it.each([
    ['a request', ['GET /metrics/XML\n\n'], ['metrics']],
    ['a request in pieces', ['GET /met', 'rics/XML\n', '\n'], ['metrics']],
    ['two at once', ['GET /metrics/XML\n\nGET /metrics/XML\n\n'], ['metrics', 'metrics']],
    ['something else', ['GET /\n\n'], ['invalid']],
    ['a flood without an end', ['x'.repeat(1000), 'GET /metrics/XML\n\n'], ['invalid', 'metrics']],
  ])('understands %s', (_, chunks, expected) => {
    const reader = new RequestReader();
    expect(chunks.flatMap((chunk) => reader.read(chunk))).toEqual(expected);
  });
});

describe('figures of the kernel', () => {
  it('are read from its files', () => {
    const stat = 'cpu  100 10 40 1000 5 0 0 0 0 0\ncpu0 50 5 20 500 0 0\ncpu1 50 5 20 500 0 0\nintr 1\n';
    const meminfo =
      'MemTotal:       1000 kB\nMemFree:         200 kB\nMemAvailable:    400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n';
    expect(parseHostFigures({ stat, meminfo, vmstat: 'pswpin 2\npswpout 3\n' })).toMatchObject({
      ...{ cpuCount: 2, hostCpuSeconds: 1.5, memoryAvailableKiB: 400, pagedInKiB: 8, pagedOutKiB: 12 },
    });
  });

  it('count a process whose name is strange', () => {
    expect(parseProcessSeconds('12 (a) b (c)) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0')).toBe(2);
  });
});
