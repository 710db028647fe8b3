import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { serveImages } from '@slipway/daemon';
import { type GuestShell, guestShell, shellVm } from '../../e2e/src/guest-shell.ts';
import { type Platform, startPlatform } from '../../e2e/src/platform.ts';
import type { Benchmark } from './benchmarks.ts';
import { startBridgedGuests } from './network-floor.ts';
import { makeRow, type Row } from './rows.ts';

const run = promisify(execFile);
/** What is sent in one measurement. */
const SIZE_MIB = 16;
const ROUNDS = 4;
const PINGS = 20;

/** A guest whose web server has the file. */
export interface NetworkPeer {
  readonly address: string;
  readonly shell: Pick<GuestShell, 'run'>;
}

/** Times between two ends: MiB per second of each transfer, and milliseconds of each round of pings. */
interface Measured {
  readonly throughput: number[];
  readonly latency: number[];
}

/** Guest and machine, two guests of a node, and two of different nodes, against two guests on a plain bridge. */
export const network: Benchmark = async ({ image, report }) => {
  report('network: two guests on a plain bridge');
  const plain = await startBridgedGuests(image);
  try {
    const platform = await startPlatform({ nodes: 2 });
    const { link } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8')) as { link: { hostV4: string } }; // what `up` wrote
    const images = await serveImages({ '/tiny.qcow2': image }, link.hostV4);
    try {
      report('network: three guests of Slipway on two nodes');
      const ours = await startGuests(platform, `${images.url}/tiny.qcow2`);
      return await compare(ours, plain.guests, report);
    } finally {
      await images.close();
      await platform.destroy();
    }
  } finally {
    await plain.stop();
  }
};

async function compare(
  [first, near, far]: readonly [NetworkPeer, NetworkPeer, NetworkPeer],
  [plain, other]: readonly [NetworkPeer, NetworkPeer],
  report: (text: string) => void,
): Promise<Row[]> {
  for (const { shell } of [first, near, far, plain, other])
    await shell.run(`dd if=/dev/zero of=/www/data bs=1M count=${SIZE_MIB}`);
  const times = { host: none(), same: none(), across: none(), plainHost: none(), plainGuests: none() };
  for (let round = 0; round <= ROUNDS; round++) {
    report(`network: round ${round} of ${ROUNDS}`);
    // in turn, because a machine is not the same from minute to minute; the first round warms the caches and does not count
    const into = round === 0 ? { host: none(), same: none(), across: none(), plainHost: none(), plainGuests: none() } : times;
    await fromHost(first, into.host);
    await fromHost(plain, into.plainHost);
    await fromGuest(near, first, into.same);
    await fromGuest(other, plain, into.plainGuests);
    await fromGuest(far, first, into.across);
  }
  return [
    ...rows('machine to guest', times.host, times.plainHost),
    ...rows('guest to guest, one node', times.same, times.plainGuests),
    ...rows('guest to guest, two nodes', times.across, times.plainGuests),
  ];
}

const none = (): Measured => ({ throughput: [], latency: [] });

const rows = (name: string, ours: Measured, floor: Measured): Row[] => [
  makeRow({
    ...{ promise: 'network', name: `${name}: throughput`, unit: 'MiB/s', runs: ours.throughput },
    floor: { name: 'bridge and tap', runs: floor.throughput },
  }),
  makeRow({
    ...{ promise: 'network', name: `${name}: round trip`, unit: 'ms', runs: ours.latency },
    floor: { name: 'bridge and tap', runs: floor.latency },
  }),
];

async function startGuests(platform: Platform, url: string): Promise<readonly [NetworkPeer, NetworkPeer, NetworkPeer]> {
  const names = await platform.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}');
  const [one = '', two = ''] = names.split(' ');
  const start = async (name: string, node: string): Promise<NetworkPeer> => {
    // one after the other: guests that boot at once slow each other down
    await platform.apply(shellVm(name, url, { spec: { nodeSelector: { 'kubernetes.io/hostname': node } } }));
    const shell = await guestShell(platform, name);
    const vmi = await platform.until<{ status?: { interfaces?: { ipAddress?: string }[] } }>(`vmi ${name}`, () => true);
    return { shell, address: vmi.status?.interfaces?.[0]?.ipAddress ?? '' };
  };
  return [await start('first', one), await start('near', one), await start('far', two)];
}

async function fromHost({ address }: NetworkPeer, into: Measured): Promise<void> {
  await measured(
    into,
    async () => {
      const answer = await fetch(`http://${address}/data`);
      const { byteLength } = await answer.arrayBuffer();
      if (byteLength !== SIZE_MIB * 1024 ** 2) throw new Error(`${address} sent ${byteLength} bytes`);
    },
    async () => (await run('busybox', ['ping', '-c', String(PINGS), '-i', '0.05', address])).stdout,
  );
}

async function fromGuest({ shell }: NetworkPeer, to: NetworkPeer, into: Measured): Promise<void> {
  await measured(
    into,
    async () => {
      const answer = await shell.run(`wget -q -O - http://${to.address}/data | wc -c`);
      if (Number(answer) !== SIZE_MIB * 1024 ** 2) throw new Error(`A guest got "${answer}" from ${to.address}`);
    },
    () => shell.run(`ping -c ${PINGS} -i 0.05 ${to.address}`),
  );
}

async function measured(into: Measured, transfer: () => Promise<void>, ping: () => Promise<string>): Promise<void> {
  const startedAt = performance.now();
  await transfer();
  into.throughput.push((SIZE_MIB * 1000) / (performance.now() - startedAt));
  const [, average] = /min\/avg\/max = [\d.]+\/([\d.]+)\//.exec(await ping()) ?? [];
  if (average === undefined) throw new Error('No ping was answered');
  into.latency.push(Number(average));
}
