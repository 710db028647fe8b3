import { bundledCustomResourceDefinitions } from '@slipway/api';
import { builtinResources, createApiServer, createAuthority, issueCertificate } from '@slipway/apiserver';
import { type Client, createHttpClient } from '@slipway/client';
import type { AggregatedApi } from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';

/** An API server that is reached as real ones are: over HTTPS, with client certificates. */
export interface HttpsServer {
  clientAs(user: string, groups?: readonly string[]): Promise<Client & { close(): Promise<void> }>;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

export async function httpsServer(options: { readonly aggregatedApis?: readonly AggregatedApi[] } = {}): Promise<HttpsServer> {
  const store = await openStore({ fs: memoryStoreFs(), now: Date.now });
  const server = await createApiServer({
    store,
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
    aggregatedApis: options.aggregatedApis ?? [],
  });
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
  const authority = await createAuthority({ commonName: 'tests', ...validity });
  const own = await issueCertificate(authority, {
    commonName: 'apiserver',
    usages: ['server'],
    ipAddresses: [HOST],
    ...validity,
  });
  const listener = await server.listen({ host: HOST, port: 0, tls: { ...own, clientCa: authority.cert } });
  const clients: { close(): Promise<void> }[] = [];
  return {
    async clientAs(user, groups = []) {
      const pair = await issueCertificate(authority, {
        commonName: user,
        organizations: groups,
        usages: ['client'],
        ...validity,
      });
      const client = createHttpClient({
        server: `https://${HOST}:${listener.port}`,
        ca: authority.cert,
        credentials: () => Promise.resolve(pair),
      });
      clients.push(client);
      return client;
    },
    async close() {
      for (const client of clients) await client.close();
      await server.close();
      await store.close();
    },
  };
}
