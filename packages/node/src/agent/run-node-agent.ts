import { mkdir } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isNotFound } from '@slipway/apimachinery';
import {
  KubeVirtKind,
  NetworkAttachmentDefinitionKind,
  NodeKind,
  type Pod,
  PodKind,
  VirtualMachineInstanceKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { hostRunner } from '@slipway/hostapi';
import {
  CoreEventRecorder,
  type Informer,
  InformerFactory,
  type Logger,
  type NodeHandlers,
  serveTunnel,
  sleep,
  type TimerClock,
} from '@slipway/runtime';
import {
  type ClusterConfig,
  clusterConfig,
  NODE_MONITOR_GRACE_SECONDS,
  type NodeSettings,
  nodeSettings,
  STRICT_LIVE_MIGRATABLE,
} from '@slipway/virt';
import { readTimedLog } from '../console/index.ts';
import type { MovingNetwork, NodeConfig, PodNetwork } from '../contracts.ts';
import { HostDevices } from '../devices/index.ts';
import { DiskToolsRunner } from '../disk-tools/index.ts';
import { FenceKeeper } from '../fencing/index.ts';
import { AttachmentRunner } from '../hotplug/index.ts';
import { probeKvm } from '../kvm/index.ts';
import {
  FreezeTimers,
  guestDisks,
  LauncherRunner,
  launcherHandlers,
  type NodeFacts,
  readFirmware,
  startGuestHelpers,
} from '../launcher/index.ts';
import { createPodNetwork, NodePeers } from '../network/index.ts';
import { findHostPrograms, type HostPrograms, SandboxManager, seedCapabilities } from '../sandbox/index.ts';
import { nodeVolumes, type NodeVolumes, withExports, withUploads } from '../volumes/index.ts';
import { runClusterNetwork } from './cluster-network.ts';
import { followDevices } from './follow-devices.ts';
import { followSettings } from './follow-settings.ts';
import { collectGarbage } from './garbage.ts';
import { readNodeCapabilities } from './node-capabilities.ts';
import { keepHeartbeat, type NodeRegistrationDeps, registerNode } from './node-registration.ts';
import { openMigrations } from './open-migrations.ts';
import { PodDispatcher } from './pod-dispatcher.ts';
import { followText, withPodLogs } from './pod-logs.ts';
import { withPodStreams } from './pod-streams.ts';
import { scopedClient } from './scoped-client.ts';

export interface NodeAgentOptions {
  /** With this node's own identity. */
  readonly client: Client;
  readonly config: NodeConfig;
  readonly log: Logger;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly agentVersion: string;
  /** Where the API server listens. */
  readonly server: { readonly host: string; readonly port: number };
  /** Addresses of the node itself, IPv4 first. */
  readonly addresses: readonly string[];
  /** How a data mover is started, for example `[node, dist/mover.mjs]`. */
  readonly moverProgram: readonly [string, ...string[]];
  /** Addresses that importers may reach although they are loopback or link-local. */
  readonly allowedImportAddresses: readonly string[];
  /** After so many seconds of silence the server calls the node lost; default 40. */
  readonly leaseSeconds?: number;
  /** Called when the node is registered and takes pods. */
  readonly onReady?: () => void;
}

const RETRY_MS = 3_000;
const TOKEN_SECONDS = 3600;
const STAND_DOWN_MS = 3_000;
/** A host that was examined at an earlier start is known within this time. */
const PATIENCE_MS = 200;
const BEING_EXAMINED: NodeFacts['kvm'] = { state: 'absent', reason: 'this host is being examined' };
const UNKNOWN_HOST: NodeFacts['host'] = {
  machineTypes: [],
  videoModels: [],
  cpuModels: [],
  hostModel: '',
  hostVendor: '',
  hostFeatures: [],
  libvirtVersion: '',
};
const UNKNOWN: HostReport = { kvm: BEING_EXAMINED, host: UNKNOWN_HOST };

/** What the node object says of this host. */
interface HostReport extends Pick<NodeFacts, 'kvm' | 'host'> {
  readonly problem?: string;
}

/** Runs the agent of one node until aborted; guests stay. Rejects only for causes that no retry can heal. */
export async function runNodeAgent(options: NodeAgentOptions, signal: AbortSignal): Promise<void> {
  const { config, clock, random, log } = options;
  await mkdir(join(config.stateDir, 'logs'), { recursive: true, mode: 0o711 });
  const client = scopedClient(options.client, config.nodeName);
  const informers = new InformerFactory({ client, clock, random, log });
  informers.for(PodKind);
  const vmis = informers.for(VirtualMachineInstanceKind);
  const kubeVirts = informers.for(KubeVirtKind);
  const configNow = (): ClusterConfig => {
    const [kubeVirt] = kubeVirts.lister.list();
    const strictLiveMigratable = kubeVirt?.metadata.annotations?.[STRICT_LIVE_MIGRATABLE] === 'true';
    return clusterConfig(kubeVirt?.spec?.configuration ?? {}, { strictLiveMigratable });
  };
  const settings = (): NodeSettings => nodeSettings(configNow());
  const events = new CoreEventRecorder({ client, clock, log, component: 'virt-handler', host: config.nodeName });
  const permitted = () => configNow().configuration.permittedHostDevices;
  const devices = new HostDevices({ stateDir: config.stateDir, permitted, log });
  await devices.refresh();
  const network = podNetwork(options, { informers, devices, configNow });
  let launcherNow: LauncherRunner | undefined; // made when the host is known; the volumes are needed to make it
  const volumes = nodeVolumes({
    ...{ ...options, client, informers },
    serviceAccountToken: tokenSource(client),
    liveDisks: (isPodGone) => guestDisks({ find: (podUid) => launcherNow?.launchOf(podUid), isPodGone }),
  });
  informers.start(signal);
  const networkStarted = network.start(signal);
  networkStarted.catch(() => {});
  const report = (problem: string): Promise<void> =>
    writeNode({ ...options, settings, devices }, { ...UNKNOWN, problem }, signal);
  const examined = retried({ ...options, report }, signal, () => examineHost(options, () => volumes.diskDirectories(), signal));
  examined.catch(() => {});
  const isComplete = await registerEarly({ ...options, settings, devices }, examined, signal);
  options.onReady?.();
  const { facts, sandboxes } = await examined;
  const isNetworkReady = await retried({ ...options, report }, signal, async (attempt) => {
    await (attempt === 1 ? networkStarted : network.start(signal));
    return attempt === 1;
  });
  const freezes = new FreezeTimers(clock);
  const moving = { volumes: volumes.moving, network };
  const migrations = await openMigrations({ ...{ config, clock, random, log }, client: options.client, ...moving }, signal);
  const launcher = new LauncherRunner({
    ...migrations,
    ...{ client, config, clock, random, log, events, network, sandboxes, facts, vmis, freezes },
    volumes: volumes.manager,
    startHelpers: (sandbox, files, aborting) => {
      const membershipFiles = sandboxes.membershipFiles(sandbox.podUid);
      return startGuestHelpers(
        { runner: hostRunner, sandbox, membershipFiles, virtiofsd: facts.programs.virtiofsd },
        files,
        aborting,
      );
    },
    clusterConfig: configNow,
    devices,
    hostIP: options.addresses[0] ?? '127.0.0.1',
    consoleLogOf: (podUid) => consoleLogFile(config, podUid),
  });
  launcherNow = launcher;
  const attachments = new AttachmentRunner({ client, clock, hostIP: options.addresses[0] ?? '127.0.0.1' });
  const tools = new DiskToolsRunner({ client, sandboxes, claims: volumes.claims, clock, log });
  const pods = informers.for(PodKind);
  const handlers = podHandlers(options, { launcher, pods, sandboxes, volumes, freezes, tools });
  const background = [volumes.manager.run(signal), serve(options, client, handlers, signal), runClusterNetwork(options, signal)];
  await Promise.all([
    pods.whenSynced(),
    vmis.whenSynced(),
    kubeVirts.whenSynced(),
    (isComplete && isNetworkReady) || writeNode({ ...options, settings, devices }, facts, signal),
  ]);
  const registered = registration({ ...options, settings, devices }, facts);
  const fence = fenceKeeper(options, client, pods);
  const onRenewed = (sentMs: number, aborting: AbortSignal) => fence?.renewed(sentMs, aborting) ?? Promise.resolve();
  keepHeartbeat({ ...registered, onRenewed }, signal).catch(() => {});
  const write = (): Promise<void> => registerNode(registered, signal);
  followSettings({ kubeVirts, settings, write });
  followDevices({ devices, kubeVirts, clock, log, write }, signal).catch(() => {});
  new PodDispatcher({
    ...{ client, pods, events, clock, random, log },
    runners: [launcher, attachments, tools, ...volumes.podRunners],
  }).start(signal);
  collectGarbage({ pods, sandboxes, network, launcher, devices, log }).catch((error: unknown) => {
    log.warn({ error: String(error) }, 'remains of earlier pods not removed');
  });
  await aborted(signal);
  await fence?.standDown(AbortSignal.timeout(STAND_DOWN_MS)).catch((error: unknown) => {
    log.warn({ error: String(error) }, 'the server was not told that guests go on without this agent: the watchdog stays');
  });
  launcher.abandon();
  await Promise.allSettled([...background, informers.stopped(), events.flush()]);
}

/** A node that is alone has nobody that could start its guests elsewhere. */
function fenceKeeper(
  { config, log, leaseSeconds }: NodeAgentOptions,
  client: Client,
  pods: Informer<Pod>,
): FenceKeeper | undefined {
  const { link, nodeName, stateDir } = config;
  if (link === undefined) return undefined;
  return new FenceKeeper({ client, nodeName, stateDir, pods, leaseSeconds: leaseSeconds ?? NODE_MONITOR_GRACE_SECONDS, log });
}

interface PodParts {
  readonly launcher: LauncherRunner;
  readonly freezes: FreezeTimers;
  readonly tools: DiskToolsRunner;
  readonly pods: Informer<Pod>;
  readonly sandboxes: SandboxManager;
  readonly volumes: ReturnType<typeof nodeVolumes>;
}

/** What this node answers about its guests and its pods. */
function podHandlers(
  { clock, config, log, server }: NodeAgentOptions,
  { launcher, pods, sandboxes, volumes, freezes, tools }: PodParts,
): NodeHandlers {
  const podOf = (uid: string): Pod | undefined => pods.lister.list().find(({ metadata }) => metadata.uid === uid);
  const moverLog = (podUid: string): Promise<string> => volumes.logTail(podUid);
  const guests = launcherHandlers({ find: (...key) => launcher.find(...key), freezes });
  const isMoverDone = (uid: string): boolean => /^(Succeeded|Failed)$/.test(podOf(uid)?.status?.phase ?? 'Failed');
  const followMover = (podUid: string, signal: AbortSignal): Readable =>
    followText({ read: () => moverLog(podUid), isDone: () => isMoverDone(podUid), clock }, signal);
  const withLogs = withPodLogs(withUploads(withExports(guests, volumes.exporter), volumes.uploads), {
    consoleLog: (podUid) => readTimedLog(consoleLogFile(config, podUid)),
    followConsole: (podUid) => launcher.consoleOf(podUid, { fromNow: true }),
    clock,
    moverLog,
    followMover,
    podOf,
  });
  const console = (podUid: string) => launcher.consoleOf(podUid);
  const addressesOf = (podUid: string) => launcher.addressesOf(podUid);
  const toolsCommand = (pod: Pod) => tools.commandOf(pod);
  const sources = { podOf, sandboxes, console, addressesOf, followMover, server, toolsCommand, runner: hostRunner, log };
  return withPodStreams(withLogs, sources);
}

/** Everything the agent writes about a pod that the pod itself cannot reach. */
export const consoleLogFile = (config: NodeConfig, podUid: string): string =>
  join(config.stateDir, 'logs', `${podUid}.console.log`);

interface PodNetworkSources {
  readonly informers: InformerFactory;
  readonly devices: HostDevices;
  readonly configNow: () => ClusterConfig;
}

function podNetwork(
  { client, config, log, clock }: NodeAgentOptions,
  { informers, devices, configNow }: PodNetworkSources,
): PodNetwork & MovingNetwork {
  const { link, nodeName } = config;
  return createPodNetwork({
    config,
    runner: hostRunner,
    log,
    clock,
    // an only node has nobody to watch
    ...(link && {
      peers: new NodePeers({ nodeName, link, client, nodes: informers.for(NodeKind), runner: hostRunner, clock, log }),
    }),
    bindingPlugins: () => configNow().configuration.network?.binding ?? {},
    deviceFor: (pod, name) => devices.deviceFor(pod, name),
    portOf: (address) => devices.portOf(address),
    resolveNetwork: async (key, signal) => {
      try {
        return (await client.get(NetworkAttachmentDefinitionKind, key, { signal })).spec?.config;
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
  });
}

/** Asks for a short-lived token of a service account. */
function tokenSource(client: Client) {
  return async (namespace: string, name: string, signal: AbortSignal): Promise<string> => {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(name)}/token`;
    const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: TOKEN_SECONDS } };
    const { body } = await client.raw({ method: 'POST', path, body: request, signal });
    // the answer is a TokenRequest; without a token there is nothing to put on the disk
    const token = (body as { status?: { token?: unknown } } | undefined)?.status?.token;
    if (typeof token !== 'string') throw new Error(`The API server gave no token for service account ${namespace}/${name}`);
    return token;
  };
}

async function examineHost(
  { config }: NodeAgentOptions,
  diskDirectories: NodeVolumes['diskDirectories'],
  signal: AbortSignal,
): Promise<{ facts: NodeFacts; sandboxes: SandboxManager }> {
  const { stateDir } = config;
  const programs: HostPrograms = findHostPrograms();
  const cacheFile = join(stateDir, 'kvm.json');
  const [kvm, firmware] = await Promise.all([
    probeKvm({ runner: hostRunner, qemu: programs.qemu, cacheFile }, signal),
    readFirmware(),
  ]);
  const isKvmUsable = kvm.state === 'usable';
  let capabilities: string | undefined;
  const sandboxes = new SandboxManager({
    ...{ config, runner: hostRunner, programs, isKvmUsable, diskDirectories },
    capabilities: () => capabilities,
  });
  const seeded = await seedCapabilities({ stateDir, programs, isKvmUsable, sandboxes }, signal);
  capabilities = seeded.directory;
  return { facts: { kvm, host: seeded.host, programs, firmware, memoryBytes: totalmem() }, sandboxes };
}

type RegistrationOptions = NodeAgentOptions & Pick<NodeRegistrationDeps, 'settings'> & { readonly devices: HostDevices };

/**
 * The first examination of a host takes seconds. The node is there before it has ended, so that the platform does not
 * wait; its pods do.
 */
async function registerEarly(
  options: RegistrationOptions,
  examined: Promise<{ readonly facts: NodeFacts }>,
  signal: AbortSignal,
): Promise<boolean> {
  const known = await Promise.race([examined, sleep(options.clock, PATIENCE_MS, signal).then(() => undefined)]);
  await writeNode(options, known?.facts ?? UNKNOWN, signal);
  return known !== undefined;
}

function writeNode(options: RegistrationOptions, report: HostReport, signal: AbortSignal): Promise<void> {
  return registerNode(registration(options, report), signal);
}

function registration(options: RegistrationOptions, { kvm, host, problem }: HostReport): NodeRegistrationDeps {
  const { client, config, clock, log, settings, addresses, agentVersion } = options;
  const { nodeName, podCidrV4, podCidrV6, stateDir } = config;
  const capabilities = {
    ...readNodeCapabilities({ stateDir, agentVersion, kvm, qemu: host }),
    devices: options.devices,
    ...(problem !== undefined && { problem }),
  };
  const { leaseSeconds = NODE_MONITOR_GRACE_SECONDS } = options;
  const identity = { nodeName, podCidrV4, podCidrV6, addresses };
  return { client, clock, log, settings, leaseSeconds, host: capabilities, identity };
}

function serve({ config, clock, random, log }: NodeAgentOptions, client: Client, handlers: NodeHandlers, signal: AbortSignal) {
  return serveTunnel({ client, nodeName: config.nodeName, handlers, clock, random, log }, signal);
}

/** A host without QEMU or nftables may get them while the agent waits. The node says meanwhile what is missing. */
async function retried<T>(
  { log, clock, report }: NodeAgentOptions & { readonly report: (problem: string) => Promise<void> },
  signal: AbortSignal,
  step: (attempt: number) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await step(attempt);
    } catch (error) {
      signal.throwIfAborted();
      const problem = error instanceof Error ? error.message : String(error);
      log.error({ error: problem, attempt }, 'this host cannot run guests yet');
      await report(problem);
      await sleep(clock, RETRY_MS, signal);
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
