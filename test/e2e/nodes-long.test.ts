// Nodes that are lost: a VM starts elsewhere when, and only when, its node has ended it.
import type { StatusReport } from '@slipway/daemon';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idleVm } from './src/manifests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: nodes are waited for until they count as lost. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const GRACE_SECONDS = 10;
const PATIENCE_MS = 240_000;

interface Vmi {
  metadata: { uid: string };
  status?: {
    phase?: string;
    nodeName?: string;
    interfaces?: { ipAddresses?: string[] }[];
    conditions?: { type: string; status: string }[];
  };
}
interface Node {
  status: { conditions: { type: string; status: string }[] };
  spec: { taints?: { key: string; effect: string }[] };
}
type Guest = StatusReport['guests'][number];

const tolerations = [{ key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 5 }];

/** A VM whose firmware waits; without a disk, or with one of class shared, it can run on every node. */
function lonelyVm(name: string, diskClass?: 'local' | 'shared'): object {
  const vm = structuredClone(idleVm(name)) as { spec: { template: { spec: Record<string, unknown> } } & Record<string, unknown> };
  vm.spec.template.spec['tolerations'] = tolerations;
  if (diskClass === undefined) return vm;
  const storage = { storageClassName: diskClass, resources: { requests: { storage: '16Mi' } } };
  vm.spec['dataVolumeTemplates'] = [{ metadata: { name: `${name}-disk` }, spec: { source: { blank: {} }, storage } }];
  vm.spec.template.spec['volumes'] = [{ name: 'scratch', dataVolume: { name: `${name}-disk` } }];
  return vm;
}

const preferring = (node: string): object => {
  const preference = { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] };
  return { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, preference }] } };
};

describe.skipIf(!isLong)('a node that is lost', () => {
  let platform: Platform;
  let id = '';

  const status = async (): Promise<StatusReport> => JSON.parse((await platform.slipway('status', '-o', 'json')).stdout);
  const guestsOf = async (name: string): Promise<Guest[]> => (await status()).guests.filter((guest) => guest.name === name);
  const link = (node: string, state: 'up' | 'down'): void => {
    const { nodes } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8'));
    const { linkIndex } = nodes.find((one: { name: string }) => one.name === node);
    execFileSync('ip', ['-n', `${id}-link`, 'link', 'set', `n${linkIndex}`, state]);
  };
  const signalAgent = async (node: string, signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> => {
    const pid = (await status()).nodes.find(({ name }) => name === node)?.pid;
    process.kill(pid ?? 0, signal);
  };
  const running = (name: string, previous = ''): Promise<Vmi> =>
    platform.until<Vmi>(
      `vmi ${name}`,
      ({ metadata, status: now }) => metadata.uid !== previous && now?.phase === 'Running',
      PATIENCE_MS,
    );
  const ready = (node: string, is: string): Promise<Node> =>
    platform.until<Node>(
      `node ${node}`,
      ({ status: { conditions } }) => conditions.some(({ type, status: now }) => type === 'Ready' && now === is),
      PATIENCE_MS,
    );

  /** The promise is what makes it possible to start a guest elsewhere. */
  const promised = (name: string) =>
    platform.until<{ items: { metadata: { annotations?: Record<string, string> } }[] }>(
      `pods -l vm.kubevirt.io/name=${name}`,
      ({ items }) => items[0]?.metadata.annotations?.['slipway.dev/fenced-after-seconds'] === String(GRACE_SECONDS + 5),
    );

  beforeAll(async () => {
    platform = await startPlatform({ nodes: 2, up: ['--node-monitor-grace-period', String(GRACE_SECONDS)] });
    ({ id } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8')));
  });
  afterAll(() => platform?.destroy());

  /** Watches that no moment shows two guests of the VM, until the promise is settled. */
  async function neverTwice<T>(name: string, work: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = work.finally(() => {
      isSettled = true;
    });
    settled.catch(() => {}); // awaited below
    while (!isSettled) {
      const guests = (await guestsOf(name)).filter(({ qemuPid }) => qemuPid !== undefined);
      expect(guests.map(({ node }) => node).length, JSON.stringify(guests)).toBeLessThanOrEqual(1);
    }
    return settled;
  }

  async function lose(
    name: string,
    how: { away: (node: string) => void | Promise<void>; back: (node: string) => void | Promise<void> },
    diskClass?: 'shared',
  ): Promise<void> {
    await platform.apply(lonelyVm(name, diskClass));
    const first = await running(name);
    const node = first.status?.nodeName ?? '';
    await promised(name);
    await how.away(node);
    try {
      const second = await neverTwice(name, running(name, first.metadata.uid));
      expect(second.status?.nodeName).not.toBe(node);
      expect(second.status?.interfaces?.[0]?.ipAddresses).toEqual(first.status?.interfaces?.[0]?.ipAddresses);
      const lost = await ready(node, 'Unknown');
      expect(lost.spec.taints?.map(({ key, effect }) => `${key}:${effect}`)).toEqual([
        'node.kubernetes.io/unreachable:NoSchedule',
        'node.kubernetes.io/unreachable:NoExecute',
      ]);
    } finally {
      await how.back(node);
    }
    await ready(node, 'True');
    expect((await guestsOf(name)).map((guest) => guest.node)).not.toContain(node);
    // what was left of the guest is removed by the agent that is back
    const sandboxes = join(platform.dataDir, 'nodes', node, 'sandboxes');
    const deadline = Date.now() + PATIENCE_MS;
    while (readdirSync(sandboxes).length > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 200));
    expect(readdirSync(sandboxes)).toEqual([]);
    await platform.kubectl('delete', 'vm', name, '--wait=true', '--timeout=120s');
  }

  it('because its link is cut', async () => {
    await lose('cut', { away: (node) => link(node, 'down'), back: (node) => link(node, 'up') });
  });

  it('and its VM has a disk that all nodes reach', async () => {
    await lose('roaming', { away: (node) => link(node, 'down'), back: (node) => link(node, 'up') }, 'shared');
  });

  it('because its agent is frozen', async () => {
    await lose('frozen', { away: (node) => signalAgent(node, 'SIGSTOP'), back: (node) => signalAgent(node, 'SIGCONT') });
  });

  it('keeps a guest whose disk only it has', async () => {
    await platform.apply(lonelyVm('bound', 'local'));
    const first = await running('bound');
    const node = first.status?.nodeName ?? '';
    const [guest] = await guestsOf('bound');
    // a guest that can go elsewhere stands for the time that this one would have had
    const mark = lonelyVm('mark') as { spec: { template: { spec: Record<string, unknown> } } };
    mark.spec.template.spec['affinity'] = preferring(node);
    await platform.apply(mark);
    const marked = await running('mark');
    expect(marked.status?.nodeName).toBe(node);
    await promised('mark');
    link(node, 'down');
    try {
      await ready(node, 'Unknown');
      await running('mark', marked.metadata.uid);
      await platform.until<Vmi>(
        'vmi bound',
        ({ status: now }) => now?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'False') === true,
      );
    } finally {
      link(node, 'up');
    }
    await ready(node, 'True');
    const after = await platform.until<Vmi>(
      'vmi bound',
      ({ status: now }) => now?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true,
      PATIENCE_MS,
    );
    expect(after.metadata.uid).toBe(first.metadata.uid);
    expect((await guestsOf('bound'))[0]?.qemuPid).toBe(guest?.qemuPid);
  });
});
