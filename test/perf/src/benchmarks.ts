import { readFileSync } from 'node:fs';
import { HyperConvergedKind } from '@slipway/api';
import { startPlatform } from '../../e2e/src/platform.ts';
import { benchmarkApi } from './api-benchmark.ts';
import {
  type BenchWorld,
  connect,
  countRequests,
  createAndWait,
  deleteAndWait,
  NAMESPACE,
  requestsBetween,
} from './bench-world.ts';
import { clone } from './clone-benchmark.ts';
import { hotplug } from './hotplug-benchmark.ts';
import { measureRawQemuBoot, startPlainLibvirt } from './floors.ts';
import { migration } from './migration-benchmark.ts';
import { network } from './network-benchmark.ts';
import { makeRow, type Row } from './rows.ts';
import { snapshot } from './snapshot-benchmark.ts';
import { measureBareStart, measureStartUp } from './start-up.ts';
import { storage } from './storage-benchmark.ts';

const MIB = 1024 ** 2;
const LOGIN = /login: ?$/;

export interface BenchContext {
  readonly world: BenchWorld;
  /** The tiny guest, qcow2, as imported into the golden claim. */
  readonly image: string;
  /** Where the platform can import it from. */
  readonly imageUrl: string;
  readonly hideKvm: boolean;
  readonly report: (text: string) => void;
}

export type Benchmark = (context: BenchContext) => Promise<Row[]>;

const times = async <T>(count: number, act: (index: number) => Promise<T>): Promise<T[]> => {
  const results: T[] = [];
  for (let index = 0; index < count; index++) results.push(await act(index));
  return results;
};

/** S1: a fresh installation of its own each time, so that nothing is warm but the page cache. */
const startUp: Benchmark = async ({ report }) => {
  const bare: number[] = [];
  const starts = await times(5, async (run) => {
    report(`S1 start ${run + 1} of 5`);
    bare.push(await measureBareStart());
    return measureStartUp();
  });
  const floor = { name: 'node -e 0', runs: bare };
  const seconds = { promise: 'S1', unit: 's' } as const;
  const count = { promise: 'S1', unit: 'count', goal: { max: 0, of: 'value' } } as const;
  for (const { warnings, badConditions } of starts)
    for (const text of [...warnings, ...badConditions]) report(`S1 unwanted on a first start: ${text}`);
  const most = (counts: readonly number[]) => [Math.max(...counts)];
  return [
    makeRow({
      ...seconds,
      name: 'up: command to API ready, every kind served',
      runs: starts.map(({ apiReady }) => apiReady),
      floor,
      goal: { max: 1.5, of: 'value' },
    }),
    makeRow({
      ...seconds,
      name: 'up: command to HyperConverged Available',
      runs: starts.map(({ hyperConvergedAvailable }) => hyperConvergedAvailable),
      goal: { max: 3, of: 'value' },
    }),
    makeRow({
      ...seconds,
      name: 'up: command returns, node registered',
      runs: starts.map(({ upReturned }) => upReturned),
    }),
    makeRow({ ...count, name: 'Warning events, most of any start', runs: most(starts.map(({ warnings }) => warnings.length)) }),
    makeRow({
      ...count,
      name: 'bad HyperConverged conditions, most',
      runs: most(starts.map(({ badConditions }) => badConditions.length)),
    }),
  ];
};

async function waitForHyperConverged({ client }: BenchWorld): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const { items } = await client.list(HyperConvergedKind);
    const conditions = (items[0] as { status?: { conditions?: { type: string; status: string }[] } } | undefined)?.status
      ?.conditions;
    if (conditions?.some((condition) => condition.type === 'Available' && condition.status === 'True')) return;
  }
  throw new Error('HyperConverged was not Available after a minute');
}

/** S2: one at a time against plain libvirt and virt-install in turn, then twenty at once. */
const createToRunning: Benchmark = async ({ world, image, hideKvm, report }) => {
  const libvirt = await startPlainLibvirt(hideKvm);
  try {
    await libvirt.measureCreate(image); // fills libvirt's capability cache
    const floor: number[] = [];
    const install: number[] = [];
    const ours: number[] = [];
    await times(7, async (run) => {
      report(`S2 create ${run + 1} of 7`);
      const [timing] = await createAndWait(world.client, [`s2-${run}`]);
      ours.push((timing?.runningMs ?? Number.NaN) / 1000);
      await deleteAndWait(world, [`s2-${run}`]);
      floor.push(await libvirt.measureCreate(image));
      if (run < 3) install.push(await libvirt.measureVirtInstall(image));
    });
    report('S2 twenty at once');
    const names = Array.from({ length: 20 }, (_, index) => `many-${index}`);
    const burst = await createAndWait(world.client, names);
    await deleteAndWait(world, names);
    const last = Math.max(...burst.map((timing) => timing.runningMs)) / 1000;
    const name = 'VM create to VMI Running';
    return [
      makeRow({ promise: 'S2', name, unit: 's', runs: ours, goal: { max: 0.6, of: 'value' } }),
      makeRow({
        promise: 'S2',
        name,
        unit: 's',
        runs: ours,
        floor: { name: 'libvirt define + start', runs: floor },
        goal: { max: 2.5, of: 'ratio' },
      }),
      makeRow({
        promise: 'S2',
        name,
        unit: 's',
        runs: ours,
        floor: { name: 'virt-install --import', runs: install },
        goal: { max: 1, of: 'ratio' },
      }),
      makeRow({ promise: 'S2', name: '20 at once: last one Running', unit: 's', runs: [last], goal: { max: 8, of: 'value' } }),
    ];
  } finally {
    await libvirt.stop();
  }
};

/** S3: from the create request to the login prompt on the serial console, against raw QEMU, in turn. */
const createToLogin: Benchmark = async ({ world, image, report }) => {
  const ours: number[] = [];
  const raw: number[] = [];
  await times(3, async (run) => {
    report(`S3 boot ${run + 1} of 3`);
    const name = `s3-${run}`;
    const startedAt = performance.now();
    await createAndWait(world.client, [name]);
    await waitForLogin(world, name);
    ours.push((performance.now() - startedAt) / 1000);
    await deleteAndWait(world, [name]);
    raw.push(await measureRawQemuBoot(image, LOGIN));
  });
  return [
    makeRow({
      promise: 'S3',
      name: 'VM create to login prompt',
      unit: 's',
      runs: ours,
      floor: { name: 'raw QEMU', runs: raw },
      goal: { max: 1.15, of: 'ratio' },
    }),
  ];
};

async function waitForLogin({ client }: BenchWorld, name: string): Promise<void> {
  const stream = await client.connect({
    path: `/apis/subresources.kubevirt.io/v1/namespaces/${NAMESPACE}/virtualmachineinstances/${name}/console`,
    protocols: ['plain.kubevirt.io'],
  });
  let output = '';
  try {
    for await (const message of stream.messages) {
      output += Buffer.from(message).toString('utf8');
      if (LOGIN.test(output)) return;
    }
  } finally {
    stream.close();
  }
  throw new Error(`The console of ${name} closed before the login prompt: ${output.slice(-500)}`);
}

/** S5: what a VM costs beyond its QEMU: its sandbox, and what the platform itself grew by. */
const overheadPerVm: Benchmark = async ({ world, report }) => {
  const names = Array.from({ length: 4 }, (_, index) => `s5-${index}`);
  report('S5 memory of four guests');
  const idle = await world.status();
  await createAndWait(world.client, names);
  for (const name of names) await waitForLogin(world, name);
  const busy = await world.status();
  const sandboxes = busy.guests.reduce((sum, guest) => sum + guest.overheadPssBytes, 0);
  const growth = busy.managementPssBytes - sandboxes - idle.managementPssBytes;
  await deleteAndWait(world, names);
  return [
    makeRow({
      promise: 'S5',
      name: 'sandbox PSS per VM beyond QEMU',
      unit: 'MiB',
      runs: busy.guests.map((guest) => guest.overheadPssBytes / MIB),
      goal: { max: 12, of: 'value' },
    }),
    makeRow({
      promise: 'S5',
      name: 'the same plus growth of server and agent, mean of 4',
      unit: 'MiB',
      runs: [(sandboxes + Math.max(0, growth)) / names.length / MIB],
      goal: { max: 12, of: 'value' },
    }),
  ];
};

/** S6: nothing happens for half a minute, a minute after the start: by then V8 has tidied up what the start has left. */
const idlePlatform: Benchmark = async ({ report }) => {
  report('S6 an idle platform');
  const platform = await startPlatform();
  const world = await connect(platform);
  try {
    await waitForHyperConverged(world);
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    const pids = processesOf(await world.status());
    const cpuBefore = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
    const pss = await times(3, async () => {
      await new Promise((resolve) => setTimeout(resolve, 10_000));
      return (await world.status()).managementPssBytes / MIB;
    });
    const busy = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0) - cpuBefore;
    return [
      makeRow({ promise: 'S6', name: 'idle platform PSS', unit: 'MiB', runs: pss, goal: { max: 180, of: 'value' } }),
      makeRow({
        promise: 'S6',
        name: 'idle platform, share of one core',
        unit: '%',
        runs: [(busy / 30) * 100],
        goal: { max: 1, of: 'value' },
      }),
    ];
  } finally {
    await world.close();
    await platform.destroy();
  }
};

const processesOf = (status: Awaited<ReturnType<BenchWorld['status']>>): number[] =>
  [status.server, ...status.nodes].flatMap((process) => (process.pid === undefined ? [] : [process.pid]));

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const TICKS_PER_SECOND = 100; // fixed in the kernel's user interface
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

interface BenchmarkEntry {
  readonly run: Benchmark;
  /** A platform that all such benchmarks share. */
  readonly needsWorld: boolean;
  /** False: no guest is started. */
  readonly needsImage?: boolean;
}

const START_SETTLE_MS = 1_000;

/** S10: what the start of one VM asks of the API server, the create of the user included, until everybody is quiet. */
const requestsPerStart: Benchmark = async ({ world, report }) => {
  const writes: number[] = [];
  const requests: number[] = [];
  await times(3, async (run) => {
    const name = `s10-${run}`;
    const before = await countRequests(world);
    const [timing] = await createAndWait(world.client, [name]);
    await new Promise((resolve) => setTimeout(resolve, START_SETTLE_MS));
    const made = requestsBetween(before, await countRequests(world)).filter((line) => !PERIODIC.test(line));
    if (run === 0) for (const line of made) report(`S10 ${line}`);
    requests.push(made.reduce((sum, line) => sum + Number.parseInt(line, 10), 0));
    writes.push(timing?.writes ?? Number.NaN);
    await deleteAndWait(world, [name]);
  });
  const count = { promise: 'S10', unit: 'count' } as const;
  return [
    makeRow({ ...count, name: 'updates of the VMI until Running', runs: writes, goal: { max: 3, of: 'value' } }),
    makeRow({ ...count, name: 'API requests of one VM start', runs: requests, goal: { max: 20, of: 'value' } }),
  ];
};

/** Heartbeats come whether a VM starts or not. */
const PERIODIC = / node (patch|update) (leases|nodes)/;

export const BENCHMARKS: Readonly<Record<string, BenchmarkEntry>> = {
  S1: { run: startUp, needsWorld: false },
  S6: { run: idlePlatform, needsWorld: false },
  api: { run: benchmarkApi, needsWorld: false, needsImage: false },
  S2: { run: createToRunning, needsWorld: true },
  S3: { run: createToLogin, needsWorld: true },
  S5: { run: overheadPerVm, needsWorld: true },
  S10: { run: requestsPerStart, needsWorld: true },
  S9: { run: migration, needsWorld: false },
  hotplug: { run: hotplug, needsWorld: true },
  snapshot: { run: snapshot, needsWorld: true },
  clone: { run: clone, needsWorld: true },
  storage: { run: storage, needsWorld: true },
  network: { run: network, needsWorld: false },
};
