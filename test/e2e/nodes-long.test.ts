// Nodes that are lost: a VM starts elsewhere when, and only when, its node has ended it.
import type { StatusReport } from '@slipway/daemon';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters, watchDiskWriters } from './src/disk-writers.ts';
import { idleVm } from './src/manifests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: nodes are waited for until they count as lost. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const GRACE_SECONDS = 10;
const TOLERATED_SECONDS = 5;
const PROMISED_SECONDS = GRACE_SECONDS + TOLERATED_SECONDS;
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

const tolerations = [
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: TOLERATED_SECONDS },
];

/** A VM whose firmware waits; without a disk, or with one of class shared, it can run on every node. */
function lonelyVm(name: string, diskClass?: 'local' | 'shared', spec: object = {}): object {
  const vm = structuredClone(idleVm(name)) as { spec: { template: { spec: Record<string, unknown> } } & Record<string, unknown> };
  Object.assign(vm.spec.template.spec, { tolerations, ...spec });
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

describe.skipIf(!isLong).each([2, 3])('of %i nodes one that is lost', (count) => {
  let platform: Platform;
  let id = '';

  const status = async (): Promise<StatusReport> => JSON.parse((await platform.slipway('status', '-o', 'json')).stdout);
  const guestsOf = async (name: string): Promise<Guest[]> => (await status()).guests.filter((guest) => guest.name === name);
  const link = (node: string, state: 'up' | 'down'): void => {
    const { nodes } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8'));
    const { linkIndex } = nodes.find((one: { name: string }) => one.name === node);
    execFileSync('ip', ['-n', `${id}-link`, 'link', 'set', `n${linkIndex}`, state]);
  };
  const agentOf = async (node: string): Promise<number> => {
    const pid = (await status()).nodes.find(({ name }) => name === node)?.pid;
    if (pid === undefined) throw new Error(`Node ${node} has no agent`);
    return pid;
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
      ({ items }) => items[0]?.metadata.annotations?.['slipway.dev/fenced-after-seconds'] === String(PROMISED_SECONDS),
      PATIENCE_MS,
    );

  beforeAll(async () => {
    platform = await startPlatform({ nodes: count, up: ['--node-monitor-grace-period', String(GRACE_SECONDS)] });
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

  interface Loss {
    readonly away: (node: string) => void | Promise<void>;
    readonly back: (node: string) => void | Promise<void>;
  }

  async function lose(name: string, how: Loss, diskClass?: 'shared'): Promise<void> {
    // QEMU has its disk open all the same, and three nodes' agents have the processors
    await platform.apply(lonelyVm(name, diskClass, { startStrategy: 'Paused' }));
    const first = await running(name);
    const node = first.status?.nodeName ?? '';
    await promised(name);
    if (diskClass) expect(await checkDiskWriters(platform.dataDir)).toBe(1);
    const oracle = watchDiskWriters(platform.dataDir);
    const lostMs = performance.now();
    await how.away(node);
    try {
      const second = await neverTwice(name, running(name, first.metadata.uid));
      const seconds = (performance.now() - lostMs) / 1000;
      console.log(
        `${count} nodes, ${name}: runs elsewhere ${seconds.toFixed(1)} s after its node was lost (fenced after ${PROMISED_SECONDS} + 10 s at the earliest)`,
      );
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
    await oracle.stop();
    await platform.kubectl('delete', 'vm', name, '--wait=true', '--timeout=120s');
  }

  const cut: Loss = { away: (node) => link(node, 'down'), back: (node) => link(node, 'up') };
  const frozen: Loss = {
    away: async (node) => void process.kill(await agentOf(node), 'SIGSTOP'),
    back: async (node) => void process.kill(await agentOf(node), 'SIGCONT'),
  };
  /** With whoever would start it again; the watchdog alone is left. */
  const killed: Loss = {
    async away(node) {
      const record = JSON.parse(readFileSync(join(platform.dataDir, 'run', `${node}.json`), 'utf8')) as { pid: number };
      const agent = await agentOf(node);
      process.kill(record.pid, 'SIGKILL');
      process.kill(agent, 'SIGKILL');
    },
    async back() {
      const up = await platform.slipway('up');
      expect([up.code, up.stderr]).toEqual([0, expect.stringContaining('ready')]);
    },
  };

  it('because its link is cut', async () => {
    await lose('cut', cut);
  });

  it('because its link is cut, and its VM has a disk that all nodes reach', async () => {
    await lose('cut-shared', cut, 'shared');
  });

  it('because its agent is frozen, and its VM has a disk that all nodes reach', async () => {
    await lose('frozen', frozen, 'shared');
  });

  it('because its agent is killed for good, and its VM has a disk that all nodes reach', async () => {
    await lose('killed', killed, 'shared');
  });

  it.skipIf(count > 2)('keeps a guest whose disk only it has', async () => {
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
