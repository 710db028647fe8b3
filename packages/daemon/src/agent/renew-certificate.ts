import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { CertificateSigningRequestKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { AgentIdentity } from './agent-identity.ts';
import { createCertificateRequest } from './certificate-request.ts';

export interface RenewalDeps {
  /** With the node's present identity. */
  readonly client: Client;
  readonly identity: AgentIdentity;
  readonly nodeName: string;
  readonly clock: TimerClock;
  readonly log: Logger;
}

const CHECK_MS = 6 * 60 * 60_000;
const RETRY_MS = 10 * 60_000;
const ANSWER_SECONDS = 120;
/** Of a year, four months: time enough for a server that is down for a while. */
const RENEW_BELOW = 1 / 3;
const SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';

/** Keeps the agent's client certificate fresh until aborted; the agent goes on while it is exchanged. */
export async function keepCertificate(deps: RenewalDeps, signal: AbortSignal): Promise<void> {
  const { clock, identity, log } = deps;
  while (!signal.aborted) {
    let waitMs = CHECK_MS;
    try {
      if (identity.lifeLeft(clock.now()) < RENEW_BELOW) {
        await renewCertificate(deps, signal);
        log.info({ node: deps.nodeName }, 'client certificate renewed');
      }
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ error: error instanceof Error ? error.message : String(error) }, 'cannot renew the client certificate');
      waitMs = RETRY_MS;
    }
    await sleep(clock, waitMs, signal).catch(() => undefined); // an abort ends the loop
  }
}

/** Asks the server for a certificate for a new key, and changes over to it. Rejects when it is refused or takes long. */
export async function renewCertificate({ client, identity, nodeName }: RenewalDeps, signal: AbortSignal): Promise<void> {
  const { key, request } = createCertificateRequest(`system:node:${nodeName}`, ['system:nodes']);
  const { metadata } = await client.create<SigningRequest>(
    SigningRequestKind,
    {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { generateName: 'node-csr-' },
      spec: {
        request: Buffer.from(request).toString('base64'),
        signerName: SIGNER,
        usages: ['digital signature', 'client auth'],
      },
    },
    { signal },
  );
  const cert = await issuedCertificate(client, metadata.name ?? '', signal);
  identity.replace({ cert, key });
}

interface SigningRequest extends KubeObject {
  spec?: { request: string; signerName: string; usages: string[] };
  status?: { certificate?: string; conditions?: { type: string; message?: string }[] };
}

// the published kind has no type of its own
const SigningRequestKind = CertificateSigningRequestKind as ResourceKind<SigningRequest>;

async function issuedCertificate(client: Client, name: string, signal: AbortSignal): Promise<string> {
  const fieldSelector = `metadata.name=${name}`;
  for await (const event of client.watch(SigningRequestKind, { fieldSelector, timeoutSeconds: ANSWER_SECONDS, signal })) {
    if (event.type === 'ERROR') throw new Error(`The request cannot be watched: ${event.object.message ?? ''}`);
    if (event.type === 'BOOKMARK') continue;
    const { certificate, conditions = [] } = event.object.status ?? {};
    if (certificate) return Buffer.from(certificate, 'base64').toString();
    const refusal = conditions.find(({ type }) => type === 'Denied' || type === 'Failed');
    if (refusal !== undefined) throw new Error(`The certificate was refused: ${refusal.message ?? refusal.type}`);
  }
  throw new Error('The server did not issue a certificate in time');
}
