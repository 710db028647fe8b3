import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { once } from 'node:events';
import { hostRunner } from '@slipway/hostapi';
import { ensureInstanceLink } from '@slipway/node';
import { checkoutRoot } from '../checkout.ts';
import { routedNetworks } from '../doctor/host-networks.ts';
import { ensureHostPackages, RUN_PACKAGES } from '../host-packages.ts';
import { type AgentFlags, type AgentOptions, importAddressesOf, withAgentFlags } from '../instance/agent-options.ts';
import { DEFAULT_HOST, DEFAULT_PORT } from '../instance/defaults.ts';
import { type InstanceConfig, planInstance, resizeInstance, serviceNetworks } from '../instance/instance-config.ts';
import { canonicalDataDir, loadInstance, saveInstance } from '../instance/instance-store.ts';
import { type InstancePaths, instancePaths } from '../instance/paths.ts';
import { ensureCredentials } from '../instance/credentials.ts';
import { type ServerFlags, withServerFlags } from '../instance/server-options.ts';
import { createProgress, type Progress } from '../progress.ts';
import { UserError } from '../report-failure.ts';
import { findComponent, startComponent, stopComponent } from './component.ts';
import { nodeSpec, SERVER, serverSpec, watchdogSpec } from './component-specs.ts';
import { removeLeavingNodes, requireEmptyNodes } from './leaving-nodes.ts';
import { stopNode } from './stop-node.ts';
import { installProgramFiles } from './program-files.ts';
import { type Restarts, restartsFor } from './restarts.ts';
import { type PlatformSpecs, renewPrograms, type StartSpec } from './renew-programs.ts';

export interface UpOptions extends ServerFlags, AgentFlags {
  readonly dataDir: string;
  readonly listen?: { readonly host: string; readonly port: number };
  readonly nodes?: number;
  readonly foreground?: boolean;
  /** False: KubeVirt and CDI objects that the administrator owns, from the first start on. */
  readonly hyperconverged?: boolean;
  readonly yes?: boolean;
}

const SERVER_READY_MS = 60_000;
const NODE_READY_MS = 120_000;

/** `slipway up`: idempotent; returns when the API answers and every node agent has registered. */
export async function up(options: UpOptions): Promise<void> {
  const progress = createProgress(process.stderr, Date.now);
  const { config, paths } = await startPlatform(options, progress);
  progress.done(
    `Slipway is ready at https://${urlHost(config.listenHost)}:${config.listenPort}\nexport KUBECONFIG=${paths.adminKubeconfig}`,
  );
  if (options.foreground) await stayInForeground(config, paths);
}

export async function startPlatform(
  options: UpOptions,
  progress: Progress,
  /** For this start alone: the demo serves images from this machine. */
  unremembered: AgentFlags = {},
): Promise<{ config: InstanceConfig; paths: InstancePaths }> {
  if (process.getuid?.() !== 0) throw new UserError('Guests need namespaces, taps and nftables; run it with sudo');
  await ensureHostPackages(RUN_PACKAGES, { yes: options.yes ?? false, progress });
  const { config, paths, running, restarts } = await loadOrPlan(options);
  const leaving = config.leaving ?? [];
  await requireEmptyNodes(leaving, { config, paths });
  await requireFreePort(config, findComponent(paths, SERVER) && running?.listenPort);
  if (restarts.server && (await stopComponent(paths, SERVER))) progress.step('restarting the server with its new options');
  if (restarts.agents) for (const node of config.nodes) await stopComponent(paths, node.name);
  saveInstance(config, paths);
  if (config.link !== undefined) {
    progress.step('joining the nodes');
    const request = { ...config, link: config.link, serviceNetworks: config.services ? serviceNetworks(config.services) : [] };
    await ensureInstanceLink(request, hostRunner, new AbortController().signal);
  }
  await ensureCredentials(config, paths);
  const files = installProgramFiles(paths.dataDir, checkoutRoot());
  const settings = { allowedImportAddresses: importAddressesOf(withAgentFlags(config.agents ?? {}, unremembered)) };
  const specs: PlatformSpecs = {
    server: { spec: serverSpec(config, paths, files), readyMs: SERVER_READY_MS },
    nodes: config.nodes.map((node) => ({
      node,
      agent: { spec: nodeSpec(node, paths, files, settings), readyMs: NODE_READY_MS },
      // guests of an only node could run nowhere else: nobody has to end them
      watchdog: config.nodes.length === 1 ? undefined : { spec: watchdogSpec(node, paths), readyMs: NODE_READY_MS },
    })),
  };
  await renewPrograms(specs, paths, (started) => startTogether(paths, started), progress);
  progress.step('starting the server and the node agents');
  // Agents start beside the server and connect as soon as it listens.
  const all = specs.nodes.flatMap(({ agent, watchdog }) => (watchdog ? [agent, watchdog] : [agent]));
  await startTogether(paths, [specs.server, ...all]);
  return { config: await removeLeavingNodes({ config, paths }, progress), paths };
}

/** Fails with what failed first: an agent would wait two minutes for a server that cannot start. */
async function startTogether(paths: InstancePaths, components: readonly StartSpec[]): Promise<void> {
  const rest = new AbortController();
  const failures: unknown[] = [];
  const starts = components.map(({ spec, readyMs }) =>
    startComponent(paths, spec, readyMs, rest.signal).catch((error: unknown) => {
      failures.push(error);
      rest.abort();
    }),
  );
  await Promise.all(starts);
  if (failures.length > 0) throw failures[0];
}

interface Plan {
  readonly config: InstanceConfig;
  readonly paths: InstancePaths;
  /** What it was before; absent at the first start. */
  readonly running?: InstanceConfig;
  readonly restarts: Restarts;
}

async function loadOrPlan(options: UpOptions): Promise<Plan> {
  const existing = loadInstance(options.dataDir);
  if (existing !== undefined) {
    const config = await adjusted(existing.config, existing.paths, options);
    return { ...existing, config, running: existing.config, restarts: restartsFor(existing.config, config) };
  }
  const remembered = options.hyperconverged === false ? { withHyperConverged: false } : {};
  const server = withServerFlags(remembered, serverFlags(options));
  const dataDir = canonicalDataDir(options.dataDir);
  const config = planInstance({
    dataDir,
    listenHost: options.listen?.host ?? DEFAULT_HOST,
    listenPort: options.listen?.port ?? DEFAULT_PORT,
    nodeCount: options.nodes ?? 1,
    hostname: hostname().toLowerCase(),
    routedNetworks: await routedNetworks(),
    createdAt: new Date().toISOString(),
  });
  return {
    config: {
      ...config,
      ...(Object.keys(server).length > 0 && { server }),
      ...agentPart(undefined, options),
    },
    paths: instancePaths(dataDir),
    restarts: { server: false, agents: false },
  };
}

/** The flags of the server among those of the command. */
function serverFlags(options: UpOptions): ServerFlags {
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => /^(?:oidc|authentication|audit|nodeMonitor|allowGit)/.test(name)),
  );
}

function agentPart(remembered: AgentOptions | undefined, flags: AgentFlags): Pick<InstanceConfig, 'agents'> {
  const agents = withAgentFlags(remembered ?? {}, flags);
  return Object.keys(agents).length > 0 ? { agents } : {};
}

/** What may change between two starts of an installation: its nodes, where it listens and whom it believes. */
async function adjusted(config: InstanceConfig, { dataDir }: InstancePaths, options: UpOptions): Promise<InstanceConfig> {
  if (options.hyperconverged === false && config.server?.withHyperConverged !== false)
    throw new UserError('This installation has a HyperConverged; --no-hyperconverged is chosen at the first start');
  const server = withServerFlags(config.server ?? {}, serverFlags(options));
  const { agents, ...others } = config;
  const { listenHost, listenPort } = config;
  const next = {
    ...others,
    ...agentPart(agents, options),
    server,
    listenHost: options.listen?.host ?? listenHost,
    listenPort: options.listen?.port ?? listenPort,
  };
  const nodeCount = options.nodes ?? config.nodes.length;
  if (nodeCount === config.nodes.length) return next;
  return resizeInstance(next, { dataDir, hostname: hostname().toLowerCase(), nodeCount, routedNetworks: await routedNetworks() });
}

/** Looks before anything is stopped: at the address alone when a server of this installation has the port. */
async function requireFreePort({ listenHost, listenPort }: InstanceConfig, ownPort: number | undefined): Promise<void> {
  const lowest = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
  if (listenPort < lowest)
    throw new UserError(
      `The server does not run as root and cannot have port ${listenPort}; choose one from ${lowest} with --listen`,
    );
  const probe = createServer();
  try {
    probe.listen(listenPort === ownPort ? 0 : listenPort, listenHost);
    await once(probe, 'listening');
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    if (error.code === 'EADDRINUSE')
      throw new UserError(`Port ${listenPort} of ${listenHost} is in use; choose another with --listen ${listenHost}:<port>`);
    if (error.code === 'EADDRNOTAVAIL')
      throw new UserError(`${listenHost} is no address of this machine; choose another with --listen`);
    throw error;
  } finally {
    await new Promise((resolve) => probe.close(resolve));
  }
}

export const urlHost = (host: string): string =>
  host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;

async function stayInForeground(config: InstanceConfig, paths: InstancePaths): Promise<void> {
  // A signal handler alone does not keep a Node process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  clearInterval(alive);
  for (const node of config.nodes) await stopNode(paths, node);
  await stopComponent(paths, SERVER);
}
