import { readFileSync } from 'node:fs';
import { VirtualMachineInstanceKind, VirtualMachineKind, type VirtualMachine, type VirtualMachineInstance } from '@slipway/api';
import type { WatchEvent } from '@slipway/apimachinery';
import { type Client, createHttpClient, parseKubeconfig, resolveKubeconfig } from '@slipway/client';
import type { StatusReport } from '@slipway/daemon';
import type { Platform } from '../../e2e/src/platform.ts';

export const NAMESPACE = 'default';
export const GOLDEN_CLAIM = 'bench-golden';
const WAIT_MS = 120_000;

/** A platform under measurement with a client of its own, so that no kubectl start is in the figures. */
export interface BenchWorld {
  readonly platform: Platform;
  readonly client: Client;
  status(): Promise<StatusReport>;
  close(): Promise<void>;
}

export async function connect(platform: Platform): Promise<BenchWorld> {
  const kubeconfig = parseKubeconfig(readFileSync(platform.kubeconfig, 'utf8'), '/');
  const client = createHttpClient((await resolveKubeconfig(kubeconfig)).client);
  return {
    platform,
    client,
    async status() {
      const result = await platform.slipway('status', '-o', 'json');
      return JSON.parse(result.stdout) as StatusReport;
    },
    close: () => client.close(),
  };
}

/** A VM that boots a throw-away overlay of the imported golden image: the image is present, nothing is copied. */
export function benchVm(name: string): VirtualMachine {
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      runStrategy: 'Always',
      template: {
        spec: {
          domain: {
            cpu: { cores: 1 },
            memory: { guest: '128Mi' },
            devices: {
              disks: [{ name: 'root', disk: { bus: 'virtio' } }],
              interfaces: [{ name: 'default', masquerade: {} }],
              rng: {},
            },
          },
          networks: [{ name: 'default', pod: {} }],
          terminationGracePeriodSeconds: 0,
          volumes: [{ name: 'root', ephemeral: { persistentVolumeClaim: { claimName: GOLDEN_CLAIM } } }],
        },
      },
    },
  } as VirtualMachine; // the generated type also wants fields that the server defaults
}

export interface VmTiming {
  /** Milliseconds from sending the create to receiving the watch event with phase Running. */
  readonly runningMs: number;
  /** MODIFIED events of the VMI from its creation to that event: each is one write of the object. */
  readonly writes: number;
}

/** Creates the VMs at once and waits until every VMI is Running; timings in the order of the names. */
export async function createAndWait(client: Client, names: readonly string[]): Promise<VmTiming[]> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(new Error(`Not all of ${names.join(', ')} were Running in ${WAIT_MS} ms`)), WAIT_MS);
  const timings = new Map<string, VmTiming>();
  const writes = new Map<string, number>();
  const { metadata } = await client.list(VirtualMachineInstanceKind, { namespace: NAMESPACE });
  const events = client.watch(VirtualMachineInstanceKind, {
    namespace: NAMESPACE,
    ...(metadata.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
    signal: stop.signal,
  });
  const startedAt = performance.now();
  const creating = Promise.all(names.map((name) => client.create(VirtualMachineKind, benchVm(name))));
  try {
    for await (const event of events) {
      const name = countWrite(event, writes);
      if (name === undefined || !names.includes(name) || timings.has(name)) continue;
      timings.set(name, { runningMs: performance.now() - startedAt, writes: writes.get(name) ?? 0 });
      if (timings.size === names.length) break;
    }
    await creating;
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  return names.map((name) => {
    const timing = timings.get(name);
    if (timing === undefined) throw new Error(`The watch ended before ${name} was Running`);
    return timing;
  });
}

/** Counts updates; returns the name when the event shows a Running VMI. */
function countWrite(event: WatchEvent<VirtualMachineInstance>, writes: Map<string, number>): string | undefined {
  if (event.type !== 'ADDED' && event.type !== 'MODIFIED') return undefined;
  const name = event.object.metadata.name ?? '';
  writes.set(name, event.type === 'ADDED' ? 0 : (writes.get(name) ?? 0) + 1);
  return event.object.status?.phase === 'Running' ? name : undefined;
}

export async function deleteAndWait({ client, platform }: BenchWorld, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => client.delete(VirtualMachineKind, { namespace: NAMESPACE, name })));
  for (const name of names) await platform.tryKubectl('wait', '--for=delete', `vmi/${name}`, '--timeout=60s');
}

/** Requests that the API server has answered since its start, those of this client left out. */
export async function countRequests({ client }: BenchWorld): Promise<ReadonlyMap<string, number>> {
  const { body } = await client.raw({ method: 'GET', path: '/metrics' });
  const counts = new Map<string, number>();
  for (const [, labels = '', count] of String(body).matchAll(/^apiserver_request_total\{(.*)\} (\d+)$/gm)) {
    const isOurs = labels.includes('client="other"') && !labels.includes('verb="create"');
    if (!isOurs) counts.set(labels, Number(count));
  }
  return counts;
}

/** What was asked between two counts, most frequent first, as `3 virtualmachine-controller update virtualmachines/status`. */
export function requestsBetween(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string[] {
  const value = (labels: string, name: string): string => labels.match(new RegExp(`${name}="([^"]*)"`))?.[1] ?? '';
  return [...after]
    .map(([labels, count]) => ({ labels, count: count - (before.get(labels) ?? 0) }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
    .map(({ labels, count }) => {
      const subresource = value(labels, 'subresource');
      const resource = `${value(labels, 'resource')}${subresource === '' ? '' : `/${subresource}`}`;
      return `${count} ${value(labels, 'client')} ${value(labels, 'verb')} ${resource}`;
    });
}
