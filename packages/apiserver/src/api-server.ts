import { generateKeyPair, randomInt, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import type { Client } from '@slipway/client';
import type {
  AdmissionHandler,
  AggregatedApi,
  MetricFamily,
  MetricFilter,
  NodeConnector,
  OpenRoute,
  PrintedColumn,
  UserInfo,
} from '@slipway/runtime';
import type { Store } from '@slipway/store';
import { createAdmissionChain, type AdmissionPlugin } from './admission/admission-chain.ts';
import { policyAdmission } from './admission/policies/policy-admission.ts';
import { PolicyStatus } from './admission/policies/policy-status.ts';
import { POLICIES, POLICY_GROUP } from './admission/policies/policy-types.ts';
import { webhookAdmission } from './admission/webhooks/webhook-admission.ts';
import { limitRangerPlugin } from './admission/limits/limit-ranger.ts';
import { podSecurityPlugin } from './admission/pod-security/pod-security-plugin.ts';
import { FlowController } from './flow-control/flow-controller.ts';
import { quotaPlugin } from './admission/quota/quota-plugin.ts';
import { type AuditPolicy, changesAt } from './audit/audit-policy.ts';
import { reporting, staticTokens, type TokenAuthenticator } from './authn/authenticator.ts';
import { oidcAuthenticator } from './authn/oidc/oidc-authenticator.ts';
import type { OidcIssuer } from './authn/oidc/oidc-config.ts';
import { quietly, type RefusalLog } from './authn/refusal-log.ts';
import { type ServiceAccountTokens, serviceAccountTokens } from './authn/service-account-tokens.ts';
import { tokenReview } from './authn/token-review.ts';
import {
  selfSubjectAccessReview,
  selfSubjectReview,
  selfSubjectRulesReview,
  subjectAccessReview,
} from './authz/access-review.ts';
import { nodeAuthorizer } from './authz/node-authorizer.ts';
import { reviewResources } from './authz/review-resources.ts';
import { nodeRestriction } from './admission/node-restriction.ts';
import { defaultTolerationSecondsPlugin, priorityPlugin, serviceAccountPlugin } from './admission/pod-plugins.ts';
import {
  claimResizePlugin,
  defaultStorageClassPlugin,
  nodeTaintPlugin,
  storageProtectionPlugin,
} from './admission/storage-plugins.ts';
import { escalationPlugin } from './authz/escalation.ts';
import { generateName } from './registry/names.ts';
import { type Authorizer, authorizers, mastersAuthorizer } from './authz/authorizer.ts';
import { rbacAuthorizer } from './authz/rbac.ts';
import { RbacIndex } from './authz/rbac-index.ts';
import { bootstrap } from './bootstrap/bootstrap.ts';
import type { Component } from './bootstrap/component-roles.ts';
import type { ExtensionAuthorities } from './bootstrap/extension-authentication.ts';
import { CrdController } from './crd/crd-controller.ts';
import type { FieldConverter } from './crd/custom-resource.ts';
import { crdResource } from './crd/crd-resource.ts';
import { installCrds } from './crd/install-crds.ts';
import { directClient } from './direct/direct-client.ts';
import { type ListenOptions, type Listener, listen } from './http/http-server.ts';
import { handleRequest } from './pipeline/pipeline.ts';
import type { ApiRequest, ApiResponse } from './pipeline/request.ts';
import { type ClientPart, RequestMetrics } from './pipeline/request-metrics.ts';
import { createServerMetrics } from './pipeline/server-metrics.ts';
import type { AuditEvent, ServerContext, VirtualHandler } from './pipeline/server-context.ts';
import { createBinding } from './subresources/pod-actions.ts';
import { ApiServiceController } from './api-services/api-service-controller.ts';
import { RemoteApis } from './api-services/remote-apis.ts';
import { CertificateSigner } from './pki/certificate-signer.ts';
import type { KeyPair } from './pki/certificates.ts';
import { Registry } from './registry/registry.ts';
import type { ResourceDefinition } from './registry/resource-definition.ts';
import type { WriteContext } from './registry/write-context.ts';

export interface ApiServerOptions {
  readonly store: Store;
  /** Built-in kinds, see `builtinResources`. */
  readonly definitions: readonly ResourceDefinition[];
  /** CustomResourceDefinitions that are part of the platform: installed or updated before the first request. */
  readonly bundledCrds?: readonly object[];
  /** What moves fields between versions of the platform's own kinds, by `group/Kind`. */
  readonly fieldConverters?: ReadonlyMap<string, FieldConverter>;
  /** What `kubectl get` prints beside the name of the platform's own kinds whose definitions declare no columns, by `group/Kind`. */
  readonly printedColumns?: ReadonlyMap<string, readonly PrintedColumn[]>;
  readonly admissionPlugins?: readonly AdmissionPlugin[];
  readonly admissionHandlers?: readonly AdmissionHandler[];
  readonly aggregatedApis?: readonly AggregatedApi[];
  /** Parts that answer by themselves, without user and rules of the API. */
  readonly openRoutes?: readonly OpenRoute[];
  /** Parts of the platform that act with rights of their own. */
  readonly components?: readonly Component[];
  /** How logs, exec and port-forward reach a node. */
  readonly nodes?: NodeConnector;
  /** Certificate shown to servers behind APIServices, which believe its identity headers. */
  readonly frontProxy?: { readonly cert: string; readonly key: string };
  /** Published in `kube-system/extension-apiserver-authentication`. */
  readonly extensionAuthorities?: ExtensionAuthorities;
  /** Signs client certificates that were approved, and those that nodes renew. Absent: nobody gets any. */
  readonly signingAuthority?: KeyPair;
  /** Static bearer tokens. */
  readonly tokens?: ReadonlyMap<string, UserInfo>;
  readonly tokenAuthenticators?: readonly TokenAuthenticator[];
  /** Issuers whose ID tokens are believed. */
  readonly oidcIssuers?: readonly OidcIssuer[];
  /** Told why a bearer token was refused, now and then for one that is repeated. */
  readonly logRefusal?: RefusalLog;
  /**
   * PEM of the RSA key that signs service account tokens, asked for when it is needed first and not again unless that failed:
   * making one takes up to a second of a processor. Absent: a new one, so that tokens end with the process.
   */
  readonly serviceAccountKey?: () => Promise<string>;
  /** What is recorded of a request; absent: who did what, of all that changes something or is refused. */
  readonly auditPolicy?: AuditPolicy;
  readonly audit?: (event: AuditEvent) => void;
  /** The part of the platform that a client in this process, or `node` for all agents, belongs to. */
  readonly clientParts?: (client: string) => ClientPart | undefined;
  /** What `GET /metrics` shows beside the server's own figures. */
  readonly metrics?: (wanted: MetricFilter) => readonly MetricFamily[] | Promise<readonly MetricFamily[]>;
  /** What `GET /alerts` answers. */
  readonly alerts?: () => unknown;
  readonly logError?: (error: unknown, what: string) => void;
  readonly nowMs?: () => number;
}

export interface ApiServer {
  /** A client that calls the request pipeline in this process as `user`. Objects it returns are frozen. */
  client(user: UserInfo, name?: string): Client;
  /** One request through the whole pipeline, as the transports send them. */
  handle(request: ApiRequest): Promise<ApiResponse>;
  /** Serves HTTPS (HTTP/1.1 and HTTP/2) until closed. */
  listen(options: ListenOptions): Promise<Listener>;
  /** Counts of the requests so far. */
  requestMetrics(wanted?: MetricFilter): readonly MetricFamily[];
  readonly registry: Registry;
  /** Asks for the key of service account tokens now, so that the first who needs a token does not wait for it. */
  prepareTokens(): Promise<void>;
  /** Resolves when CustomResourceDefinitions written so far are served. */
  settled(): Promise<void>;
  /** Ends watches and listeners. The store stays open. */
  close(): Promise<void>;
}

const SYSTEM_USER: UserInfo = { username: 'system:apiserver', groups: ['system:masters'] };

/** Builds an API server on an open store; ready when the promise resolves. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const nowMs = options.nowMs ?? Date.now;
  const logError = options.logError ?? (() => undefined);
  const registry = new Registry(options.store);
  registry.add([...options.definitions, crdResource(), ...reviewResources()]);
  const others = otherTokens(options, nowMs);
  const accounts = serviceAccountTokens({
    privateKey: options.serviceAccountKey ?? generateServiceAccountKey,
    nowMs,
    uid: randomUUID,
    lookup: (...key) => registry.lookup(...key),
  });
  const tokenAuthenticators: TokenAuthenticator[] = [async (token) => (await accounts.authenticate(token))?.user, ...others];
  const requests = new RequestMetrics(options.clientParts);
  const flow = new FlowController({
    registry,
    soon: (task) => void setImmediate(task),
    after(ms, task) {
      const timer = setTimeout(task, ms);
      return () => clearTimeout(timer);
    },
  });
  const metrics = createServerMetrics({ registry, requests, flow, ...(options.metrics && { others: options.metrics }) });
  const rbac = new RbacIndex(registry);
  const context: ServerContext = {
    registry,
    admission: createAdmissionChain({
      plugins: [...builtInPlugins(registry, rbac, () => context.authorizer), ...(options.admissionPlugins ?? [])],
      handlers: options.admissionHandlers ?? [],
      dynamic: [
        policyAdmission({ registry, authorizer: () => context.authorizer }),
        webhookAdmission({ registry, authorizer: () => context.authorizer, uid: randomUUID, logError }),
      ],
      last: [
        quotaPlugin({
          registry,
          quotaContext: (namespace) => systemContexts(context)('', 'v1', 'resourcequotas', namespace),
          clusterQuotaContext: () => systemContexts(context)('quota.openshift.io', 'v1', 'clusterresourcequotas', ''),
        }),
      ],
    }),
    authorizer: authorizers([mastersAuthorizer, nodeAuthorizer(registry), rbacAuthorizer(rbac)]),
    rbac,
    tokenAuthenticators,
    aggregatedApis: options.aggregatedApis ?? [],
    openRoutes: options.openRoutes ?? [],
    nodes: options.nodes,
    frontProxy: options.frontProxy,
    remoteApis: new RemoteApis({
      registry,
      frontProxy: options.frontProxy,
      nowMs,
      onChange: () => apiServices.syncSoon(),
    }),
    virtualHandlers: virtualHandlers(others, accounts),
    serviceAccountTokens: accounts,
    nowMs,
    uid: randomUUID,
    random: (limit) => randomInt(limit),
    metrics,
    alerts: options.alerts,
    flow,
    auditPolicy: options.auditPolicy ?? changesAt('Metadata'),
    audit(event) {
      requests.count(event);
      metrics.noteRequest();
      options.audit?.(event);
    },
    logError,
    isReady: () => true,
  };
  const systemContext = systemContexts(context);
  const isNew = options.store.revision === 0;
  await bootstrap(options.store, {
    nowMs,
    uid: context.uid,
    ...(options.components && { components: options.components }),
    ...(options.extensionAuthorities && { authorities: options.extensionAuthorities }),
  });
  if (options.bundledCrds !== undefined) await installCrds(options.store, options.bundledCrds, { nowMs, uid: context.uid });
  const crds = new CrdController({
    ...{ registry, systemContext, nowMs, logError },
    fieldConverters: options.fieldConverters,
    printedColumns: options.printedColumns,
  });
  const policies = new PolicyStatus({
    registry,
    context: () => systemContext(POLICY_GROUP, 'v1', POLICIES, ''),
    logError,
  });
  const apiServices = new ApiServiceController({
    registry,
    aggregatedApis: context.aggregatedApis,
    remoteApis: context.remoteApis,
    context: () => systemContext('apiregistration.k8s.io', 'v1', 'apiservices', ''),
    nowMs,
    uid: context.uid,
    logError,
  });
  const signer =
    options.signingAuthority &&
    new CertificateSigner({
      registry,
      authority: options.signingAuthority,
      context: () => systemContext('certificates.k8s.io', 'v1', 'certificatesigningrequests', ''),
      nowMs,
      logError,
    });
  apiServices.syncSoon();
  await apiServices.settled();
  if (isNew) registry.oldestWatchRevision = options.store.revision;
  const listeners: Listener[] = [];
  return {
    registry,
    client: (user, name = 'slipway') => directClient(context, user, name),
    handle: (request) => handleRequest(context, request),
    requestMetrics: (wanted) => requests.families(wanted),
    prepareTokens: () => accounts.prepare(),
    async listen(listenOptions) {
      const listener = await listen(context, listenOptions);
      listeners.push(listener);
      return listener;
    },
    async settled() {
      await crds.settled();
      await signer?.settled();
    },
    async close() {
      await Promise.all(listeners.map((listener) => listener.close()));
      crds.close();
      apiServices.close();
      policies.close();
      await policies.settled();
      signer?.close();
      await signer?.settled();
      context.remoteApis.close();
      await apiServices.settled();
      await crds.settled();
      metrics.close();
      flow.close();
      rbac.close();
      registry.close();
    },
  };
}

/** Who vouches for tokens beside the server itself, the quickest to answer first. */
function otherTokens(options: ApiServerOptions, nowMs: () => number): TokenAuthenticator[] {
  const log = quietly(options.logRefusal ?? (() => undefined), nowMs);
  const { tokens, tokenAuthenticators = [], oidcIssuers = [] } = options;
  return [
    ...(tokens ? [staticTokens(tokens)] : []),
    ...tokenAuthenticators.map((authenticator) => reporting(authenticator, log)),
    ...(oidcIssuers.length > 0
      ? [oidcAuthenticator(oidcIssuers, { nowMs, onRefusal: (issuer, reason) => log({ issuer }, reason) })]
      : []),
  ];
}

function virtualHandlers(
  authenticators: readonly TokenAuthenticator[],
  accounts: ServiceAccountTokens,
): ReadonlyMap<string, VirtualHandler> {
  return new Map([
    ['authorization.k8s.io/selfsubjectaccessreviews', selfSubjectAccessReview],
    ['authorization.k8s.io/selfsubjectrulesreviews', selfSubjectRulesReview],
    ['authorization.k8s.io/subjectaccessreviews', subjectAccessReview],
    ['authorization.k8s.io/localsubjectaccessreviews', subjectAccessReview],
    ['authentication.k8s.io/tokenreviews', tokenReview(authenticators, accounts)],
    ['authentication.k8s.io/selfsubjectreviews', selfSubjectReview],
    ['/serviceaccounts/token', accounts.tokenRequest],
    ['/bindings', createBinding],
  ]);
}

function builtInPlugins(registry: Registry, rbac: RbacIndex, authorizer: () => Authorizer): AdmissionPlugin[] {
  return [
    serviceAccountPlugin(registry, () => generateName('', (limit) => randomInt(limit))),
    defaultTolerationSecondsPlugin(),
    priorityPlugin(registry),
    limitRangerPlugin(registry),
    podSecurityPlugin(registry),
    defaultStorageClassPlugin(registry),
    claimResizePlugin(registry),
    storageProtectionPlugin(),
    nodeTaintPlugin(),
    nodeRestriction(registry),
    escalationPlugin(rbac, authorizer),
  ];
}

/** A new key for service account tokens; keep it, or tokens end with the process. */
export async function generateServiceAccountKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Contexts for writes the server makes on its own account. */
function systemContexts(
  server: ServerContext,
): (group: string, version: string, plural: string, namespace: string) => WriteContext | undefined {
  return (group, version, plural, namespace) => {
    const definition = server.registry.find(group, version, plural);
    if (definition === undefined) return undefined;
    return {
      registry: server.registry,
      admission: server.admission,
      definition,
      namespace,
      user: SYSTEM_USER,
      dryRun: false,
      fieldManager: 'slipway-apiserver',
      fieldValidation: 'Ignore',
      subresource: '',
      nowMs: server.nowMs,
      uid: server.uid,
      random: server.random,
      warn: () => undefined,
      signal: new AbortController().signal,
    };
  };
}
