import { setTimeout as sleep } from 'node:timers/promises';
import { measureBareHttps, measureBroadcast, measureSyncedAppends } from './api-floors.ts';
import { type LoadLimits, type Shot, percentile, runLoad } from './api-load.ts';
import { CONFIG_MAPS, VIRTUAL_MACHINES, configMap, virtualMachine } from './api-objects.ts';
import { type ServerProcess, startServerProcess } from './api-process.ts';
import { measureWatchDelivery } from './api-watches.ts';
import { type WireConnection, openConnections } from './api-wire.ts';
import { type Goal, type Row, type RowInput, makeRow } from './rows.ts';

const MIB = 1024 ** 2;
const CLIENTS = [1, 16, 64];
const STORED_VMS = 10_000;
/** VM creates in one run: together with the lists' namespaces they stay below `STORED_VMS`. */
const VM_CREATES: Readonly<Record<number, number>> = { 1: 100, 16: 300, 64: 1000 };
/** Requests before anything is measured: a server that has just started is still being compiled. */
const WARM_UP = 500;
const WATCHERS = [1, 100, 1000];
const RUNS = 3;

/** A promise for the highest number of clients alone; fewer inform. */
const withGoal = (clients: number, goal: Goal): { goal?: Goal } => (clients === 64 ? { goal } : {});

interface ApiBench {
  readonly server: ServerProcess;
  readonly connections: readonly WireConnection[];
  readonly report: (text: string) => void;
  readonly rows: Row[];
}

/** S7: the embedded API server as `slipway up` starts it, over HTTPS on loopback; this process is the load. */
export async function benchmarkApi({ report }: { readonly report: (text: string) => void }): Promise<Row[]> {
  const server = await startServerProcess();
  try {
    const connections = await openConnections(Math.max(...CLIENTS), server.port, server.tls);
    const bench: ApiBench = { server, connections, report, rows: [] };
    await creates(bench);
    await fill(bench);
    await gets(bench);
    await patches(bench);
    await lists(bench);
    await memory(bench);
    await watches(bench);
    for (const connection of connections) connection.close();
    return bench.rows;
  } finally {
    await server.destroy();
  }
}

const row = ({ rows }: ApiBench, input: Omit<RowInput, 'promise'>): number => rows.push(makeRow({ promise: 'S7', ...input }));

/** Requests a second in several runs of one load, names going on from run to run. */
async function rates({ connections }: ApiBench, clients: number, limits: LoadLimits, shot: Shot, runs = RUNS): Promise<number[]> {
  const results: number[] = [];
  for (let run = 0, first = 0; run < runs; run++) {
    const result = await runLoad(connections.slice(0, clients), limits, (connection, n) => shot(connection, first + n));
    first += result.done;
    results.push(result.perSecond);
  }
  return results;
}

async function creates(bench: ApiBench): Promise<void> {
  const warmUp = { ms: 10_000, count: WARM_UP };
  await runLoad(bench.connections, warmUp, (connection, n) =>
    connection.request('POST', CONFIG_MAPS('default'), configMap(`warm-${n}`)),
  );
  await runLoad(bench.connections, warmUp, (connection, n) =>
    connection.request('POST', `${VIRTUAL_MACHINES('default')}?dryRun=All`, virtualMachine(`warm-${n}`)),
  );
  const syncs = Array.from({ length: RUNS }, () => measureSyncedAppends(400));
  const floor = { name: 'fdatasync appends, one writer', runs: syncs };
  for (const clients of CLIENTS) {
    bench.report(`S7 durable creates, ${clients} client(s)`);
    const name = `ConfigMap creates, ${clients} client(s)`;
    const runs = await rates(bench, clients, { ms: 1500, count: 15_000 }, (connection, n) =>
      connection.request('POST', CONFIG_MAPS('default'), configMap(`c${clients}-${n}`)),
    );
    row(bench, { name, unit: '/s', runs, floor, ...withGoal(clients, { min: 5000, of: 'value' }) });
  }
  for (const clients of CLIENTS) {
    bench.report(`S7 VM creates, ${clients} client(s)`);
    const runs = await rates(bench, clients, { ms: 1500, count: VM_CREATES[clients] ?? 0 }, (connection, n) =>
      connection.request('POST', VIRTUAL_MACHINES('default'), virtualMachine(`v${clients}-${n}`)),
    );
    const goal = withGoal(clients, { min: 2000, of: 'value' });
    row(bench, { name: `VirtualMachine creates, ${clients} client(s)`, unit: '/s', runs, floor, ...goal });
  }
}

/** Namespaces with 500 and 5,000 VMs, and 10,000 in all. */
async function fill(bench: ApiBench): Promise<void> {
  const { connections, report } = bench;
  report(`S7 storing ${STORED_VMS} VMs`);
  const [one] = connections;
  for (const namespace of ['bench-500', 'bench-5000', 'bench-watch']) {
    const answer = await one?.request('POST', '/api/v1/namespaces', JSON.stringify({ metadata: { name: namespace } }));
    if (answer?.status !== 201) throw new Error(`Cannot create namespace ${namespace}: ${answer?.body.toString()}`);
  }
  const create = (namespace: string, count: number) =>
    runLoad(connections, { ms: 60_000, count }, (connection, n) =>
      connection.request('POST', VIRTUAL_MACHINES(namespace), virtualMachine(`vm-${n}`)),
    );
  await create('bench-500', 500);
  await create('bench-5000', 5000);
  const stored = await countVms(bench);
  if (stored < STORED_VMS) await create('default', STORED_VMS - stored);
  await quiet(bench);
}

async function countVms({ connections: [one] }: ApiBench): Promise<number> {
  const answer = await one?.request('GET', '/apis/kubevirt.io/v1/virtualmachines?limit=1');
  return 1 + Number(/"remainingItemCount":(\d+)/.exec(answer?.body.subarray(0, 500).toString() ?? '')?.[1] ?? 0);
}

/** Waits until the controllers have nothing more to write: the revision stands still. */
async function quiet(bench: ApiBench): Promise<void> {
  for (let before = -1, round = 0; round < 120; round++) {
    const now = await metric(bench, 'slipway_store_revision');
    if (now === before) return;
    before = now;
    await sleep(500);
  }
}

async function metric({ connections: [one] }: ApiBench, name: string): Promise<number> {
  const answer = await one?.request('GET', '/metrics');
  const line = answer?.body
    .toString()
    .split('\n')
    .find((text) => text.startsWith(`${name} `));
  if (line === undefined) throw new Error(`The server has no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

async function gets(bench: ApiBench): Promise<void> {
  for (const clients of CLIENTS) {
    bench.report(`S7 gets, ${clients} client(s)`);
    const floor = { name: 'bare node:https', runs: [await measureBareHttps(bench.server, clients, 1000)] };
    const goal = withGoal(clients, { min: 12_000, of: 'value' });
    const paths = { ConfigMap: `${CONFIG_MAPS('default')}/c1-`, VirtualMachine: `${VIRTUAL_MACHINES('bench-500')}/vm-` };
    for (const [kind, path] of Object.entries(paths)) {
      const runs = await rates(bench, clients, { ms: 1000, count: 100_000 }, (connection, n) =>
        connection.request('GET', `${path}${n % 50}`),
      );
      row(bench, { name: `${kind} gets, ${clients} client(s)`, unit: '/s', runs, floor, ...goal });
    }
  }
}

async function patches(bench: ApiBench): Promise<void> {
  bench.report('S7 patches');
  for (const clients of [1, 64]) {
    const runs = await rates(bench, clients, { ms: 1000, count: 5000 }, (connection, n) =>
      connection.request(
        'PATCH',
        `${VIRTUAL_MACHINES('bench-500')}/vm-${n % 500}`,
        `{"metadata":{"annotations":{"patched":"${clients}-${n}"}}}`,
        'application/merge-patch+json',
      ),
    );
    row(bench, { name: `VirtualMachine merge patches, ${clients} client(s)`, unit: '/s', runs });
  }
  await quiet(bench);
}

async function lists(bench: ApiBench): Promise<void> {
  const [one] = bench.connections;
  if (one === undefined) return;
  const latencies = async (path: string, count: number): Promise<number[]> => [
    ...(await runLoad([one], { ms: 10_000, count }, (connection) => connection.request('GET', path))).latenciesMs,
  ];
  for (const [size, max] of [
    [500, 10],
    [5000, 100],
  ] as const) {
    bench.report(`S7 lists of ${size} VMs`);
    const path = VIRTUAL_MACHINES(`bench-${size}`);
    const runs = await latencies(path, 21);
    row(bench, { name: `consistent list of ${size} VMs, p50`, unit: 'ms', runs, goal: { max, of: 'value' } });
    row(bench, {
      name: `the same from the cache (resourceVersion=0), p50`,
      unit: 'ms',
      runs: await latencies(`${path}?resourceVersion=0`, 11),
    });
  }
  const path = VIRTUAL_MACHINES('bench-5000');
  row(bench, { name: 'first page of 500 of 5000 VMs, p50', unit: 'ms', runs: await latencies(`${path}?limit=500`, 11) });
  const paged: number[] = [];
  for (let run = 0; run < 3; run++) paged.push(await walkPages(one, path));
  row(bench, { name: 'all 5000 VMs in pages of 500', unit: 'ms', runs: paged });
}

async function walkPages(connection: WireConnection, path: string): Promise<number> {
  const startedAt = performance.now();
  for (let token = ''; ; ) {
    const answer = await connection.request('GET', `${path}?limit=500${token && `&continue=${token}`}`);
    if (answer.status !== 200) throw new Error(`A page was answered ${answer.status}`);
    token = /"continue":"([^"]*)"/.exec(answer.body.subarray(0, 1000).toString())?.[1] ?? '';
    if (token === '') return performance.now() - startedAt;
  }
}

async function memory(bench: ApiBench): Promise<void> {
  const { server } = bench;
  bench.report('S7 memory');
  const loaded = server.pssBytes() / MIB;
  const count = await countVms(bench);
  row(bench, { name: `server PSS after this load, ${count} VMs stored`, unit: 'MiB', runs: [loaded] });
  for (const connection of bench.connections) connection.close();
  const startedAt = performance.now();
  await server.restart();
  row(bench, {
    name: `restart with ${count} VMs: until the API answers`,
    unit: 's',
    runs: [(performance.now() - startedAt) / 1000],
  });
  const fresh = { ...bench, connections: await openConnections(1, server.port, server.tls) };
  await quiet(fresh);
  row(bench, { name: `server PSS after the restart`, unit: 'MiB', runs: [server.pssBytes() / MIB] });
  for (const connection of fresh.connections) connection.close();
}

async function watches(original: ApiBench): Promise<void> {
  const bench = { ...original, connections: await openConnections(1, original.server.port, original.server.tls) };
  for (const watchers of WATCHERS) {
    bench.report(`S7 watch delivery to ${watchers} watcher(s)`);
    const maxStall = () => metric(bench, 'nodejs_eventloop_lag_max_seconds'); // reading begins a new measurement
    await maxStall();
    let whileConnecting = 0;
    const onConnected = async () => (whileConnecting = await maxStall());
    const load = { watchers, events: 40, namespace: 'bench-watch', onConnected };
    const runs = await measureWatchDelivery(bench.server, load);
    const whileDelivering = await maxStall();
    const bare = await measureBroadcast(bench.server, watchers, load.events);
    const floor = (share: number) => ({ name: 'bare TLS broadcast', runs: [percentile(bare, share)] });
    const median = { name: `watch delivery, ${watchers} watcher(s), p50`, runs: [percentile(runs, 0.5)], floor: floor(0.5) };
    row(bench, { ...median, unit: 'ms' });
    const goal: { goal?: Goal } = watchers === 1000 ? { goal: { max: 20, of: 'value' } } : {};
    const tail = { name: `watch delivery, ${watchers} watcher(s), p99`, runs: [percentile(runs, 0.99)], floor: floor(0.99) };
    row(bench, { ...tail, unit: 'ms', ...goal });
    if (watchers !== 1000) continue;
    const stalls = { 'while they connect': whileConnecting, meanwhile: whileDelivering };
    for (const [when, seconds] of Object.entries(stalls)) {
      const name = `longest event loop stall ${when}`;
      row(bench, { name, unit: 'ms', runs: [seconds * 1000], goal: { max: 50, of: 'value' } });
    }
    row(bench, { name: `server PSS with ${watchers} watchers`, unit: 'MiB', runs: [bench.server.pssBytes() / MIB] });
  }
  for (const connection of bench.connections) connection.close();
}
