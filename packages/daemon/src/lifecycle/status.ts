import { statSync } from 'node:fs';
import { join } from 'node:path';
import { createHttpClient, loadKubeconfigs, resolveKubeconfig } from '@slipway/client';
import { NodeKind } from '@slipway/api';
import { childPids, hostRunner, pssBytes } from '@slipway/hostapi';
import { connectedNodes, listGuests, nodeLink } from '@slipway/node';
import { serverUrl } from '../instance/credentials.ts';
import type { InstanceConfig, NodeInstance } from '../instance/instance-config.ts';
import { requireInstance } from '../instance/instance-store.ts';
import type { InstancePaths } from '../instance/paths.ts';
import { VERSION } from '../version.ts';
import { componentPid, findComponent } from './component.ts';
import { SERVER, watchdogName } from './component-specs.ts';
import type { GuestReport, ProcessReport, StatusReport } from './status-report.ts';

const API_TIMEOUT_MS = 3000;
const MIB = 1024 ** 2;

/** `slipway status`: exit status 1 when a part of the platform does not run. */
export async function status(options: { dataDir: string; output: string }): Promise<void> {
  const { config, paths } = requireInstance(options.dataDir);
  const report = await gatherStatus(config, paths);
  console.log(options.output === 'json' ? JSON.stringify(report, undefined, 2) : formatStatus(report));
  process.exitCode = report.server.ready && report.nodes.every((node) => node.running) ? 0 : 1;
}

async function gatherStatus(config: InstanceConfig, paths: InstancePaths): Promise<StatusReport> {
  const server = processReport(paths, SERVER);
  const accelerators = await askAccelerators(paths);
  const guests = (await Promise.all(config.nodes.map((node) => guestReports(node, paths)))).flat();
  const connected = config.link && (await connectedNodes(config.id, hostRunner, new AbortController().signal));
  const nodes = config.nodes.map((node) => ({
    name: node.name,
    hostPrefix: node.hostPrefix,
    ...(config.link && {
      linkAddress: nodeLink(config.id, config.link, node).addressV4,
      isLinkUp: node.linkIndex === undefined || connected?.has(node.linkIndex) === true,
    }),
    ...processReport(paths, node.name),
    ...(accelerators?.get(node.name) ?? ({ accelerator: 'unknown', acceleratorReason: 'the API does not answer' } as const)),
  }));
  const components = [SERVER, ...config.nodes.flatMap((node) => [node.name, watchdogName(node)])];
  const supervisors = components.flatMap((name) => findComponent(paths, name)?.pid ?? []);
  const management = [server, ...nodes].map((process) => process.pssBytes ?? 0);
  return {
    version: VERSION,
    dataDir: paths.dataDir,
    kubeconfig: paths.adminKubeconfig,
    server: { ...server, url: serverUrl(config), ready: accelerators !== undefined },
    nodes,
    guests,
    managementPssBytes: sum([
      ...management,
      ...supervisors.map(pssBytes),
      ...hostHelpers(config, paths, guests),
      ...guests.map((guest) => guest.overheadPssBytes),
    ]),
    guestsPssBytes: sum(guests.map((guest) => guest.qemuPssBytes)),
  };
}

/** Children of the agents, such as the DHCP relay. Sandboxes that an agent has started are its children too: they count as guests. */
function hostHelpers(config: InstanceConfig, paths: InstancePaths, guests: readonly GuestReport[]): number[] {
  const inGuests = new Set(guests.flatMap(({ initPid }) => (initPid === undefined ? [] : [initPid, ...descendantsOf(initPid)])));
  return config.nodes.flatMap((node) => {
    const supervisor = findComponent(paths, node.name);
    const agent = supervisor && componentPid(supervisor);
    const children = agent === undefined ? [] : descendantsOf(agent);
    const watchdog = findComponent(paths, watchdogName(node));
    const helpers = [...children.filter((pid) => !inGuests.has(pid)), ...(watchdog ? descendantsOf(watchdog.pid) : [])];
    return helpers.map(pssBytes);
  });
}

const descendantsOf = (pid: number): number[] => childPids(pid).flatMap((child) => [child, ...descendantsOf(child)]);

function processReport(paths: InstancePaths, name: string): ProcessReport {
  const supervisor = findComponent(paths, name);
  const pid = supervisor && componentPid(supervisor);
  if (pid === undefined) return { running: false };
  return { running: true, pid, startedAt: startOf(pid), pssBytes: pssBytes(pid) };
}

const startOf = (pid: number): string => statSync(join('/proc', String(pid))).ctime.toISOString();

async function guestReports(node: NodeInstance, paths: InstancePaths): Promise<GuestReport[]> {
  const guests = await listGuests(paths.node(node.name));
  return guests.map(({ namespace, name, initPid, libvirtdPid, qemuPid }) => ({
    namespace,
    name,
    node: node.name,
    initPid,
    ...(libvirtdPid !== undefined && { libvirtdPid }),
    ...(qemuPid !== undefined && { qemuPid }),
    overheadPssBytes: sum([initPid, ...descendantsOf(initPid)].filter((pid) => pid !== qemuPid).map(pssBytes)),
    qemuPssBytes: qemuPid === undefined ? 0 : pssBytes(qemuPid),
  }));
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

type Accelerator = Pick<StatusReport['nodes'][number], 'accelerator' | 'acceleratorReason'>;

/** By node; undefined when the API does not answer. */
async function askAccelerators(paths: InstancePaths): Promise<Map<string, Accelerator> | undefined> {
  const { client: config } = await resolveKubeconfig(await loadKubeconfigs([paths.adminKubeconfig]));
  const client = createHttpClient(config);
  try {
    const { items } = await client.list(NodeKind, { signal: AbortSignal.timeout(API_TIMEOUT_MS) });
    return new Map(
      items.map((node) => {
        const condition = node.status?.conditions?.find((entry) => entry.type === 'slipway.dev/KVMUsable');
        const accelerator = condition?.status === 'True' ? 'kvm' : condition === undefined ? 'unknown' : 'tcg';
        return [node.metadata.name ?? '', { accelerator, acceleratorReason: condition?.message ?? '' }];
      }),
    );
  } catch {
    return undefined;
  } finally {
    await client.close();
  }
}

const linkText = ({ linkAddress, isLinkUp }: StatusReport['nodes'][number]): string =>
  linkAddress === undefined ? '' : `, ${linkAddress}${isLinkUp ? '' : ' cut off'}`;

function formatStatus(report: StatusReport): string {
  const mib = (bytes: number | undefined) => `${((bytes ?? 0) / MIB).toFixed(1)} MiB`;
  const line = (name: string, process: ProcessReport, more: string) =>
    `  ${name.padEnd(24)} ${process.running ? `running, pid ${process.pid}, ${mib(process.pssBytes)}, since ${process.startedAt}` : 'not running'}${more}`;
  return [
    `Slipway ${report.version}, ${report.dataDir}`,
    line('server', report.server, report.server.ready ? `, answers at ${report.server.url}` : ', does not answer'),
    ...report.nodes.map(
      (node) =>
        `${line(`node ${node.name}`, node, `${linkText(node)}, ${node.accelerator}, ${node.hostPrefix}… on the host`)}\n${' '.repeat(27)}${node.acceleratorReason}`,
    ),
    ...report.guests.map(
      (guest) =>
        `  guest ${`${guest.namespace}/${guest.name}`.padEnd(18)} QEMU ${mib(guest.qemuPssBytes)}, overhead ${mib(guest.overheadPssBytes)}`,
    ),
    `  management ${mib(report.managementPssBytes)}, guests ${mib(report.guestsPssBytes)}`,
  ].join('\n');
}
