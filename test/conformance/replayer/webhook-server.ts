import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createAuthority, issueCertificate } from '@slipway/apiserver';

/** What a path answers: parts of an AdmissionResponse; undefined leaves the caller waiting. */
const ANSWERS: Readonly<Record<string, Record<string, unknown> | undefined>> = {
  '/label': {
    allowed: true,
    warnings: ['labelled for you'],
    patchType: 'JSONPatch',
    patch: Buffer.from(JSON.stringify([{ op: 'add', path: '/metadata/labels', value: { added: 'yes' } }])).toString('base64'),
  },
  '/refuse': { allowed: false, status: { code: 418, message: 'it is a teapot' } },
};

export interface WebhookServer {
  readonly port: number;
  /** Base64 of its authority's certificate. */
  readonly ca: string;
  close(): Promise<void>;
}

/** An admission webhook on loopback. */
export async function startWebhookServer(): Promise<WebhookServer> {
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const authority = await createAuthority({ commonName: 'webhooks', ...validity });
  const tls = await issueCertificate(authority, {
    commonName: 'webhook',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    ...validity,
  });
  const server = createServer(tls, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const review = JSON.parse(Buffer.concat(chunks).toString()) as {
        apiVersion: string;
        kind: string;
        request: { uid: string };
      };
      const answer = ANSWERS[(request.url ?? '').split('?')[0] ?? ''];
      if (answer === undefined) return;
      const { apiVersion, kind } = review;
      response.end(JSON.stringify({ apiVersion, kind, response: { uid: review.request.uid, ...answer } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port, // listening on TCP
    ca: Buffer.from(authority.cert).toString('base64'),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
