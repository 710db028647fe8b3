import type { AggregatedApi, NodeConnector, OpenRoute, UserInfo } from '@slipway/runtime';
import type { AdmissionChain } from '../admission/admission-chain.ts';
import type { RemoteApis } from '../api-services/remote-apis.ts';
import type { AuditLevel, AuditPolicy } from '../audit/audit-policy.ts';
import type { TokenAuthenticator } from '../authn/authenticator.ts';
import type { ServiceAccountTokens } from '../authn/service-account-tokens.ts';
import type { Authorizer } from '../authz/authorizer.ts';
import type { RbacIndex } from '../authz/rbac-index.ts';
import type { FlowController } from '../flow-control/flow-controller.ts';
import type { Registry } from '../registry/registry.ts';
import type { ApiRequest, ApiResponse } from './request.ts';
import type { ServerMetrics } from './server-metrics.ts';
import type { RequestInfo } from '../routing/request-info.ts';

/** A line of the audit log: who, what, when, verdict, latency. Never tokens, query strings or secrets. */
export interface AuditEvent {
  /** `None`: not for the log, only for those who count requests. */
  readonly level: AuditLevel;
  readonly auditId: string;
  readonly time: string;
  readonly user: string;
  readonly groups: readonly string[];
  readonly impersonatedUser?: string;
  readonly sourceAddress: string;
  readonly userAgent: string;
  readonly verb: string;
  readonly path: string;
  readonly code: number;
  readonly latencyMs: number;
  /** What was sent, without secrets, where the policy wants it. */
  readonly requestObject?: unknown;
  /** What admission has to say for the record. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What every request handler shares. */
export interface ServerContext {
  readonly registry: Registry;
  readonly admission: AdmissionChain;
  readonly authorizer: Authorizer;
  /** Roles and bindings by who holds them. */
  readonly rbac: RbacIndex;
  readonly tokenAuthenticators: readonly TokenAuthenticator[];
  readonly serviceAccountTokens: ServiceAccountTokens;
  readonly aggregatedApis: readonly AggregatedApi[];
  /** Paths that stand outside of the API. */
  readonly openRoutes: readonly OpenRoute[];
  readonly nodes: NodeConnector | undefined;
  /** Certificate by which servers behind APIServices know that identity headers come from us. */
  readonly frontProxy: { readonly cert: string; readonly key: string } | undefined;
  /** Servers behind APIServices. */
  readonly remoteApis: RemoteApis;
  readonly virtualHandlers: ReadonlyMap<string, VirtualHandler>;
  readonly nowMs: () => number;
  readonly uid: () => string;
  readonly random: (limit: number) => number;
  readonly metrics: ServerMetrics;
  /** Alerts that hold now. */
  readonly alerts: (() => unknown) | undefined;
  /** Shares the server among the users that come over the network. */
  readonly flow: FlowController;
  readonly auditPolicy: AuditPolicy;
  readonly audit: ((event: AuditEvent) => void) | undefined;
  readonly logError: (error: unknown, what: string) => void;
  readonly isReady: () => boolean;
}

/** One authenticated and authorized request on its way through the handlers. */
export interface Call {
  readonly server: ServerContext;
  readonly request: ApiRequest;
  readonly info: RequestInfo;
  readonly user: UserInfo;
  readonly warnings: string[];
  /** For the audit log; filled while the request is handled. */
  readonly annotations: Record<string, string>;
}

/** What a handler answers; headers and warnings are added by the pipeline. */
export type Answer = Partial<Omit<ApiResponse, 'warnings'>> & { readonly status: number };

/** Answers a create of a resource that is not stored (SubjectAccessReview), or of a subresource (`token`). */
export type VirtualHandler = (call: Call, body: unknown) => Promise<Answer>;
