import { StatusError, badRequest, internalError, isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { requestObject } from '../audit/request-object.ts';
import { ANONYMOUS, authenticate } from '../authn/authenticator.ts';
import { impersonate } from '../authn/impersonation.ts';
import { authorizationRequest, forbiddenError } from '../authz/authorizer.ts';
import { type RequestInfo, requestInfo } from '../routing/request-info.ts';
import { authorizedInfo } from '../routing/aggregated.ts';
import { dispatch } from '../routing/dispatch.ts';
import { preferredFormat } from './negotiate.ts';
import { PROTOBUF_TYPE } from '../protobuf/decode.ts';
import { encodeProtobuf, hasProtobuf } from '../protobuf/encode.ts';
import { toYaml } from '@slipway/apimachinery';
import type { ApiRequest, ApiResponse, BodyStream, TextParts, WatchSession } from './request.ts';
import type { Answer, AuditEvent, Call, ServerContext } from './server-context.ts';

/** Paths anybody may read, with or without credentials. */
const PUBLIC_PATHS = /^\/(version|healthz|livez|readyz)(\/|$)/;

/** Authenticates, authorizes, answers and records one request. Never throws: failures become Status answers. */
export async function handleRequest(server: ServerContext, request: ApiRequest): Promise<ApiResponse> {
  const startMs = server.nowMs();
  const auditId = request.headers['audit-id'] ?? server.uid();
  const warnings: string[] = [];
  const annotations: Record<string, string> = {};
  let user: UserInfo | undefined;
  let impersonator: UserInfo | undefined;
  let info: RequestInfo | undefined;
  let answer: Answer;
  try {
    info = infoOf(request);
    const authenticated = await authenticate(request, server.tokenAuthenticators);
    user = impersonate(request, authenticated, server.authorizer);
    if (user !== authenticated) impersonator = authenticated;
    const call: Call = { server, request, info, user, warnings, annotations };
    const admission = request.admit?.(user, info);
    if (admission !== undefined) await admission;
    authorize(call);
    answer = valueInProtobuf(await dispatch(call), request);
  } catch (error) {
    answer = inWantedForm(failure(server, error, request), request);
  }
  record(server, request, {
    auditId,
    startMs,
    user: impersonator ?? user,
    impersonated: impersonator && user,
    info,
    annotations,
    code: answer.status,
  });
  return new CompleteResponse(answer, auditId, warnings);
}

interface Outcome {
  readonly auditId: string;
  readonly startMs: number;
  readonly user: UserInfo | undefined;
  readonly impersonated: UserInfo | undefined;
  readonly info: RequestInfo | undefined;
  readonly code: number;
  readonly annotations: Readonly<Record<string, string>>;
}

function record(server: ServerContext, request: ApiRequest, outcome: Outcome): void {
  const { auditId, startMs, user, impersonated, info, code, annotations } = outcome;
  server.audit?.({
    ...recordedPart(server, request, outcome),
    auditId,
    time: isoTime(startMs),
    user: user?.username ?? '',
    groups: user?.groups ?? [],
    ...(impersonated && { impersonatedUser: impersonated.username }),
    sourceAddress: request.remoteAddress,
    userAgent: request.headers['user-agent'] ?? '',
    verb: info?.verb ?? request.method.toLowerCase(),
    path: request.path,
    code,
    latencyMs: server.nowMs() - startMs,
    ...(hasAny(annotations) && { annotations }),
  });
}

/** How much of the request is recorded, and what was sent where that is part of it. */
function recordedPart(
  { auditPolicy }: ServerContext,
  { body }: ApiRequest,
  { user = ANONYMOUS, info, code }: Outcome,
): Pick<AuditEvent, 'level' | 'requestObject'> {
  if (info === undefined) return { level: 'Metadata' };
  const level = auditPolicy(user, info, code);
  const sent = level === 'Request' ? requestObject(body, info) : undefined;
  return sent === undefined ? { level } : { level, requestObject: sent };
}

function hasAny(object: object): boolean {
  for (const _key in object) return true;
  return false;
}

let lastTime: { readonly ms: number; readonly text: string } = { ms: Number.NaN, text: '' };

/** Several requests begin in one millisecond, and writing a time costs more than routing a request. */
function isoTime(ms: number): string {
  if (ms !== lastTime.ms) lastTime = { ms, text: new Date(ms).toISOString() };
  return lastTime.text;
}

const SWITCHING_PROTOCOLS = 101;

/**
 * Opens a connection that leaves HTTP (exec, console, port-forward) for a request whose sender may do what it asks, and
 * records it as any other request. Throws StatusError.
 */
export async function openAudited<T>(server: ServerContext, request: ApiRequest, open: (call: Call) => Promise<T>): Promise<T> {
  const startMs = server.nowMs();
  const auditId = request.headers['audit-id'] ?? server.uid();
  let user: UserInfo | undefined;
  let impersonator: UserInfo | undefined;
  let info: RequestInfo | undefined;
  let code = SWITCHING_PROTOCOLS;
  const annotations: Record<string, string> = {};
  try {
    info = infoOf(request);
    const authenticated = await authenticate(request, server.tokenAuthenticators);
    user = impersonate(request, authenticated, server.authorizer);
    if (user !== authenticated) impersonator = authenticated;
    const call: Call = { server, request, info, user, warnings: [], annotations };
    await request.admit?.(user, info);
    authorize(call);
    return await open(call);
  } catch (error) {
    code = error instanceof StatusError ? error.code : 500;
    throw error;
  } finally {
    request.leave?.();
    record(server, request, {
      auditId,
      startMs,
      user: impersonator ?? user,
      impersonated: impersonator && user,
      info,
      code,
      annotations,
    });
  }
}

function infoOf(request: ApiRequest): RequestInfo {
  try {
    return requestInfo(request.method, request.path, request.query);
  } catch (error) {
    if (error instanceof URIError) throw badRequest('invalid percent-encoding in the path');
    throw error;
  }
}

function authorize({ server, user, info, request }: Call): void {
  if (PUBLIC_PATHS.test(info.path) && (info.verb === 'get' || info.verb === 'head')) return;
  const wanted = authorizationRequest(user, authorizedInfo(server, info), request.query);
  const { verdict, reason } = server.authorizer(wanted);
  if (verdict !== 'allow') throw forbiddenError(wanted, reason);
}

/** An answer with what every response carries; the answer's own properties may be lazy and stay so. */
class CompleteResponse implements ApiResponse {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly warnings: readonly string[];
  private readonly answer: Answer;

  constructor(answer: Answer, auditId: string, warnings: readonly string[]) {
    this.status = answer.status;
    this.headers = { 'audit-id': auditId, 'cache-control': 'no-cache, private', ...answer.headers };
    this.warnings = warnings;
    this.answer = answer;
  }

  get value(): unknown {
    return this.answer.value;
  }

  get text(): string | undefined {
    return this.answer.text;
  }

  get parts(): TextParts | undefined {
    return this.answer.parts;
  }

  get bytes(): Uint8Array | undefined {
    return this.answer.bytes;
  }

  get watch(): WatchSession | undefined {
    return this.answer.watch;
  }

  get stream(): BodyStream | undefined {
    return this.answer.stream;
  }
}

function failure(server: ServerContext, error: unknown, request: ApiRequest): Answer {
  if (error instanceof StatusError) return statusAnswer(error);
  if (request.signal.aborted)
    return statusAnswer(new StatusError({ code: 499, reason: 'ClientClosedRequest', message: 'Client went away' }));
  server.logError(error, `${request.method} ${request.path}`);
  return statusAnswer(internalError('unexpected failure, see the log of the server', error));
}

/** An answer that is no stored object (a Status, a Scale, a review, a list of groups) in protobuf where it is preferred. */
function valueInProtobuf(answer: Answer, { headers }: ApiRequest): Answer {
  if (preferredFormat(headers['accept']) !== 'protobuf' || answer.headers?.['content-type'] !== undefined) return answer;
  if (answer.watch ?? answer.stream ?? answer.bytes ?? answer.text ?? answer.parts) return answer;
  const { value } = answer;
  if (!isObject(value)) return answer;
  const { apiVersion, kind } = value;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || !hasProtobuf(apiVersion, kind)) return answer;
  return { status: answer.status, bytes: encodeProtobuf(value), headers: { ...answer.headers, 'content-type': PROTOBUF_TYPE } };
}

function inWantedForm(answer: Answer, request: ApiRequest): Answer {
  const { headers } = request;
  const format = preferredFormat(headers['accept']);
  if (format === 'protobuf') return valueInProtobuf(answer, request);
  if (format === 'json') return answer;
  return { ...answer, text: toYaml(answer.value), headers: { ...answer.headers, 'content-type': 'application/yaml' } };
}

function statusAnswer(error: StatusError): Answer {
  const { details } = error.status;
  if (details?.name === '') delete details.name; // an empty name is not shown
  const seconds = details?.retryAfterSeconds;
  return {
    status: error.code,
    value: error.status,
    ...(seconds !== undefined && { headers: { 'retry-after': String(seconds) } }),
  };
}
