import { type UnstructuredObject, cloneJson, formatTime, isObject } from '@slipway/apimachinery';
import type { Registry } from '../registry/registry.ts';
import { type WriteContext, putObject, removeObject } from '../registry/write-context.ts';
import type { Collection } from '../watch-cache/collection.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';
import { type KeyPair, readRequest, signRequest } from './certificates.ts';
import { isOpen, isOutdated, planSigning, type SigningPlan } from './plan-signing.ts';

export interface SignerDeps {
  readonly registry: Registry;
  /** Signs the certificates; the one whose clients the server believes. */
  readonly authority: KeyPair;
  /** Writes requests as the server itself. */
  readonly context: () => WriteContext | undefined;
  readonly nowMs: () => number;
  readonly logError: (error: unknown, what: string) => void;
}

const CLEAN_UP_MS = 10 * 60_000;
/** Clocks of clients differ. */
const BACKDATE_MS = 5 * 60_000;

/** Issues client certificates for approved CertificateSigningRequests, and for nodes that renew their own. */
export class CertificateSigner {
  private readonly deps: SignerDeps;
  private readonly collection: Collection;
  private readonly unsubscribe: () => void;
  private running: Promise<void> | undefined;
  private isStale = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(deps: SignerDeps) {
    this.deps = deps;
    this.collection = deps.registry.cache.collection({ group: 'certificates.k8s.io', plural: 'certificatesigningrequests' });
    this.unsubscribe = this.collection.subscribe(({ current }) => {
      if (current !== undefined) this.syncSoon();
    });
    if (this.collection.size > 0) this.syncSoon();
  }

  /** Resolves when nothing is left to do. */
  async settled(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  close(): void {
    this.unsubscribe();
    clearInterval(this.timer);
  }

  private syncSoon(): void {
    this.isStale = true;
    this.timer ??= setInterval(() => this.syncSoon(), CLEAN_UP_MS).unref();
    this.running ??= Promise.resolve()
      .then(() => this.syncUntilFresh())
      .catch((error: unknown) => this.deps.logError(error, 'certificate signing requests'))
      .finally(() => (this.running = undefined));
  }

  private async syncUntilFresh(): Promise<void> {
    while (this.isStale) {
      this.isStale = false;
      for (const stored of [...this.collection.list()]) await this.handle(stored);
    }
  }

  private async handle(stored: StoredObject): Promise<void> {
    const { context, nowMs } = this.deps;
    const writer = context();
    if (writer === undefined) return;
    if (isOutdated(stored.object, nowMs())) return void (await removeObject(writer, stored.key, stored.revision));
    if (!isOpen(stored.object)) return;
    const next = await this.decided(stored.object);
    // a write that lost a race is made again: its winner's event calls for another round
    if (next !== undefined) await putObject(writer, stored.key, next, stored.revision);
  }

  private async decided(request: UnstructuredObject): Promise<UnstructuredObject | undefined> {
    const pem = requestPem(request);
    const requested = await readRequest(pem);
    const plan = planSigning(request, requested);
    switch (plan.type) {
      case 'leave':
        return undefined;
      case 'fail':
        return this.withStatus(request, {}, condition('Failed', 'SignerValidationFailure', plan.message));
      case 'sign':
        return this.signed(request, pem, plan);
    }
  }

  private async signed(
    request: UnstructuredObject,
    pem: string,
    { lifetimeMs, approves }: SigningPlan & { type: 'sign' },
  ): Promise<UnstructuredObject> {
    const now = this.deps.nowMs();
    const validity = { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + lifetimeMs) };
    const certificate = await signRequest(this.deps.authority, pem, validity);
    const approval = approves ? condition('Approved', 'AutoApproved', 'The node renews its own client certificate.') : undefined;
    return this.withStatus(request, { certificate: Buffer.from(certificate).toString('base64') }, approval);
  }

  private withStatus(
    request: UnstructuredObject,
    fields: Record<string, unknown>,
    added: Record<string, unknown> | undefined,
  ): UnstructuredObject {
    const status = isObject(request['status']) ? request['status'] : {};
    const conditions: unknown[] = Array.isArray(status['conditions']) ? status['conditions'] : [];
    const now = formatTime(this.deps.nowMs());
    const more = added === undefined ? [] : [{ ...added, lastUpdateTime: now, lastTransitionTime: now }];
    return cloneJson({ ...request, status: { ...status, ...fields, conditions: [...conditions, ...more] } });
  }
}

const condition = (type: string, reason: string, message: string): Record<string, unknown> => ({
  type,
  status: 'True',
  reason,
  message,
});

function requestPem({ spec }: UnstructuredObject): string {
  const encoded = isObject(spec) && typeof spec['request'] === 'string' ? spec['request'] : '';
  return Buffer.from(encoded, 'base64').toString();
}
