import { randomInt, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  bundledCustomResourceDefinitions,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  VirtualMachineInstanceKind,
} from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import { type ApiServer, builtinResources, createApiServer, type ListenOptions, toYaml } from '@slipway/apiserver';
import {
  cdiControllers,
  cdiPrometheusRule,
  claimAdmission,
  dataImportCronAdmission,
  dataVolumeAdmission,
  objectTransferAdmission,
  uploadServer,
} from '@slipway/cdi';
import type { Client } from '@slipway/client';
import {
  type AdmissionDeps,
  cachedPresets,
  type ClusterFacts,
  clusterFacts,
  controllers,
  countStreams,
  expandVm,
  exportRoute,
  gatingFrom,
  platformUserIn,
  quotaGateAdmission,
  resolveTypes,
  virtAdmissionHandlers,
  withInferredTypes,
  virtApiRules,
  type StreamCounts,
  virtualMachineSubresources,
} from '@slipway/controllers';
import { type GitOps, gitOps } from '@slipway/gitops';
import { hostRunner } from '@slipway/hostapi';
import {
  alerting,
  appliedQuotasApi,
  cdiAdmission,
  convertHyperConverged,
  hostPathAdmission,
  hyperConvergedAdmission,
  operators,
  packageManifestsApi,
  processedTemplatesApi,
  PROJECTS_COMPONENT,
  projectsApi,
  templateColumns,
  type VmConsoleProxy,
  vmConsoleProxy,
  type TemplateValidator,
  templateValidator,
} from '@slipway/operators';
import {
  componentRights,
  componentUser,
  ControllerManager,
  type ControllerRegistration,
  type MetricFamily,
  type MetricFilter,
  createTunnelServer,
  type Logger,
  type PlatformSettings,
  systemClock,
  type TunnelServer,
} from '@slipway/runtime';
import { openStore, openStoreDirectory } from '@slipway/store';
import { type ClusterConfig, clusterConfig } from '@slipway/virt';
import { checkToken } from '../access/platform-token.ts';
import { serverUrl } from '../instance/credentials.ts';
import { apiClusterIP, clusterNetworks, type InstanceConfig, loadBalancerAddresses } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';
import { auditPolicyOf, auditRotationOf } from '../instance/audit-options.ts';
import { oidcIssuersOf } from '../instance/server-options.ts';
import { loggerOf, type DaemonLog } from '../logging.ts';
import { KUBEVIRT_VERSION, VERSION } from '../version.ts';
import { createAuditLog } from './audit-log.ts';
import { clientPartOf } from './client-parts.ts';
import { deferredClient } from './deferred-client.ts';
import { listenOnLink } from './link-listener.ts';
import { uploadParts } from './uploads.ts';

export interface ServerInput {
  readonly config: InstanceConfig;
  readonly paths: InstancePaths;
  readonly log: DaemonLog;
  readonly tls: ListenOptions['tls'];
  /** Shown to servers behind APIServices. */
  readonly frontProxy: { readonly cert: string; readonly key: string };
  /** Signs client certificates that were approved, and those that node agents renew. */
  readonly signingAuthority: { readonly cert: string; readonly key: string };
  readonly tokenKey: string;
  readonly serviceAccountKey: () => Promise<string>;
}

export interface RunningServer {
  /** Has the key of service account tokens made, unless somebody needed it before. */
  prepareTokens(): Promise<void>;
  renewTls(tls: ListenOptions['tls']): void;
  close(): Promise<void>;
}

/** Parts that the API server's own extensions use once they exist. */
interface LateParts {
  readonly alerting: ReturnType<typeof alerting>;
  readonly applications: GitOps;
  readonly consoleProxy: VmConsoleProxy;
  templates?: TemplateValidator;
  projectsClient?: Client;
  client?: Client;
  uploadClient?: Client;
  manager?: ControllerManager;
  api?: ApiServer;
  streams?: StreamCounts;
}

/** Between the starts of two caches or controllers: requests are answered meanwhile, and all have started soon enough (S1). */
const TURN_MS = 3;
const INSTALL_NAMESPACE = 'openshift-cnv';
const OS_IMAGES_NAMESPACE = 'openshift-virtualization-os-images';

const REGISTRATIONS = [...controllers, ...cdiControllers, ...operators];

/** Opens the store, starts the API and then the controllers. Resolves when the API answers with every kind and first object. */
export async function startServer(input: ServerInput, signal: AbortSignal): Promise<RunningServer> {
  const { config, paths, tls } = input;
  const log = loggerOf(input.log);
  const store = await openStore({ fs: await openStoreDirectory(join(paths.server, 'store')), now: Date.now });
  const nodes = createTunnelServer({ clock: systemClock, log: log.child({ part: 'tunnel' }), token: randomUUID });
  const applications = gitOps({
    runner: hostRunner,
    cacheDir: join(paths.server, 'gitops'),
    reach: { paths: config.server?.gitPaths ?? [], addresses: config.server?.gitAddresses ?? [] },
  });
  const late: LateParts = {
    alerting: alerting({ families: (wanted) => familiesOf(late, wanted), rules: (namespace) => [cdiPrometheusRule(namespace)] }),
    applications,
    consoleProxy: vmConsoleProxy(),
  };
  const api = await createApi(input, store, nodes, log, late);
  const listener = await api.listen({ host: config.listenHost, port: config.listenPort, tls });
  const linkListener =
    config.link &&
    listenOnLink({ api, clock: systemClock, log }, { host: config.link.hostV4, port: config.listenPort, tls }, signal);
  const manager = createManager(
    { api, nodes, log, extra: [late.alerting.registration, late.consoleProxy.registration, ...applications.registrations] },
    {
      caBundle: tls.clientCa,
      apiUrl: serverUrl(config),
      withHyperConverged: config.server?.withHyperConverged ?? true,
      ...(config.server?.nodeMonitorGraceSeconds !== undefined && {
        nodeMonitorGraceSeconds: config.server.nodeMonitorGraceSeconds,
      }),
      ...(config.services && {
        loadBalancerAddresses: loadBalancerAddresses(config.services),
        apiClusterIP: apiClusterIP(config.services),
      }),
    },
  );
  late.manager = manager;
  manager.start(signal);
  await manager.installed();
  return {
    prepareTokens: () => api.prepareTokens(),
    renewTls(renewed) {
      listener.renew(renewed);
      linkListener?.renewTls(renewed);
    },
    async close() {
      await manager.stopped();
      await api.close();
      await store.close();
    },
  };
}

async function createApi(
  { config: instance, paths, tls, frontProxy, signingAuthority, tokenKey, serviceAccountKey }: ServerInput,
  store: Awaited<ReturnType<typeof openStore>>,
  nodes: TunnelServer,
  log: Logger,
  late: LateParts,
): Promise<ApiServer> {
  const client = deferredClient(() => {
    if (late.client === undefined) throw new Error('The API server is not built yet');
    return late.client;
  });
  const facts = lateFacts(late);
  const config = (): ClusterConfig => facts()?.config() ?? clusterConfig();
  const expand = async (vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachine> => {
    const named = await withInferredTypes(client, vm, signal);
    return expandVm(named, config(), await resolveTypes(client, named, signal));
  };
  const uploadClient = deferredClient(() => late.uploadClient ?? client);
  late.streams = countStreams(
    virtualMachineSubresources({ client, nodes, version: KUBEVIRT_VERSION, config, expandVm: expand }),
    Date.now,
  );
  late.templates = templateValidator({ client });
  const projectsClient = deferredClient(() => late.projectsClient ?? client);
  const uploads = uploadParts(uploadClient, nodes, INSTALL_NAMESPACE);
  const api = await createApiServer({
    store,
    definitions: builtinResources(instance.services && { serviceCidrs: clusterNetworks(instance.services) }),
    bundledCrds: bundledCustomResourceDefinitions(),
    fieldConverters: new Map([['hco.kubevirt.io/HyperConverged', convertHyperConverged]]),
    printedColumns: new Map([['template.openshift.io/Template', templateColumns]]),
    components: componentRights([
      ...REGISTRATIONS,
      late.alerting.registration,
      late.consoleProxy.registration,
      ...late.applications.registrations,
      PROJECTS_COMPONENT,
      { name: 'virt-api', rules: virtApiRules },
      uploadServer,
    ]).map((component) => ({
      ...component,
      namespace: INSTALL_NAMESPACE,
    })),
    aggregatedApis: [
      nodes.api,
      uploads.api,
      late.applications.api,
      projectsApi({ client: projectsClient }),
      appliedQuotasApi({ client: projectsClient }),
      packageManifestsApi({ version: VERSION }),
      processedTemplatesApi({ randomBelow: (limit) => randomInt(limit) }),
      late.consoleProxy.api,
      late.streams.api,
    ],
    openRoutes: [exportRoute({ client, nodes, now: Date.now, writeYaml: toYaml }), late.applications.webhook, ...uploads.routes],
    admissionHandlers: [
      ...virtAdmissionHandlers({
        client,
        config,
        presets: latePresets(late),
        now: () => new Date(),
        newUuid: randomUUID,
        isPlatform: platformUserIn([INSTALL_NAMESPACE], () => facts()?.kubeVirtNamespace()),
      }),
      quotaGateAdmission({ isGating: lateGating(late), isPlatform: platformUserIn([INSTALL_NAMESPACE]) }),
      cdiAdmission({ client }),
      hostPathAdmission,
      hyperConvergedAdmission({ client }),
      late.templates.handler,
      dataImportCronAdmission,
      objectTransferAdmission,
      claimAdmission({ client }),
      dataVolumeAdmission({ client, findClaim: (namespace, name) => findClaim(client, namespace, name) }),
    ],
    nodes,
    frontProxy,
    signingAuthority,
    ...(tls.requestHeaderCa !== undefined && {
      extensionAuthorities: { client: tls.clientCa, requestHeader: tls.requestHeaderCa },
    }),
    serviceAccountKey,
    oidcIssuers: oidcIssuersOf(instance.server ?? {}),
    logRefusal: (fields, reason) => log.warn({ ...fields, reason }, 'bearer token refused'),
    tokenAuthenticators: [async (token) => checkToken(token, tokenKey, Date.now())],
    auditPolicy: auditPolicyOf(instance.server ?? {}),
    clientParts: clientPartOf,
    metrics: (wanted) => partFamilies(late, wanted),
    alerts: () => late.alerting.alerts(),
    audit: createAuditLog(join(paths.server, 'audit.log'), auditRotationOf(instance.server ?? {})),
    logError: (error, what) => log.error({ error: error instanceof Error ? error.stack : String(error) }, what),
  });
  late.uploadClient = api.client(componentUser(INSTALL_NAMESPACE, uploadServer.name), uploadServer.name);
  late.projectsClient = api.client(componentUser(INSTALL_NAMESPACE, PROJECTS_COMPONENT.name), PROJECTS_COMPONENT.name);
  late.client = api.client(componentUser(INSTALL_NAMESPACE, 'virt-api'), 'virt-api');
  late.api = api;
  return api;
}

/** Metrics of everything beside the API server itself. */
async function partFamilies({ manager, templates, streams }: LateParts, wanted: MetricFilter): Promise<readonly MetricFamily[]> {
  const instances = manager?.informers.lister(VirtualMachineInstanceKind);
  return [
    ...((await manager?.metricFamilies(wanted)) ?? []),
    ...(templates?.metrics() ?? []),
    ...(streams?.metrics((namespace, name) => instances?.get({ namespace, name }) !== undefined) ?? []),
  ];
}

/** What rules ask for: metrics of the parts, and counts of requests. */
const familiesOf = async (late: LateParts, wanted: MetricFilter): Promise<readonly MetricFamily[]> => [
  ...(await partFamilies(late, wanted)),
  ...(late.api?.requestMetrics(wanted) ?? []),
];

/** What the KubeVirt object says now; undefined before the controllers' caches exist. */
function lateFacts(late: LateParts): () => ClusterFacts | undefined {
  let facts: ClusterFacts | undefined;
  return () => {
    if (late.manager !== undefined) facts ??= clusterFacts(late.manager.informers, {});
    return facts;
  };
}

/** Pods wait for quotas once the controllers are there that let them go. */
function lateGating(late: LateParts): (namespace: string) => boolean {
  let isGating: ReturnType<typeof gatingFrom> | undefined;
  return (namespace) => {
    if (late.manager !== undefined) isGating ??= gatingFrom(late.manager.informers);
    return isGating?.(namespace) ?? false;
  };
}

/** Presets from the controllers' caches as soon as these exist. */
function latePresets(late: LateParts): NonNullable<AdmissionDeps['presets']> {
  let presets: AdmissionDeps['presets'];
  return (namespace) => {
    if (late.manager !== undefined) presets ??= cachedPresets(late.manager.informers);
    return presets?.(namespace);
  };
}

async function findClaim(client: Client, namespace: string, name: string): Promise<PersistentVolumeClaim | undefined> {
  try {
    return await client.get(PersistentVolumeClaimKind, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

interface ManagerParts {
  readonly api: ApiServer;
  readonly nodes: TunnelServer;
  readonly log: Logger;
  /** Controllers that know parts of the server. */
  readonly extra: readonly ControllerRegistration[];
}

function createManager(
  { api, nodes, log, extra }: ManagerParts,
  facts: Pick<
    PlatformSettings,
    'caBundle' | 'apiUrl' | 'withHyperConverged' | 'nodeMonitorGraceSeconds' | 'loadBalancerAddresses' | 'apiClusterIP'
  >,
): ControllerManager {
  const manager = new ControllerManager({
    clientFor: (name) => api.client(componentUser(INSTALL_NAMESPACE, name), name),
    clock: systemClock,
    log,
    random: Math.random,
    uid: randomUUID,
    queuePrefix: (name) => clientPartOf(name)?.prefix ?? '',
    nodes,
    nextTurn: () => new Promise((resolve) => void setTimeout(resolve, TURN_MS)),
    settings: { installNamespace: INSTALL_NAMESPACE, osImagesNamespace: OS_IMAGES_NAMESPACE, ...facts, version: VERSION },
  });
  for (const registration of [...REGISTRATIONS, ...extra]) manager.register(registration);
  return manager;
}
