// Starts an API server on a store in memory for conformance runs: prints one JSON line {port, token}, ends with stdin.
import { randomBytes, randomUUID } from 'node:crypto';
import { bundledCustomResourceDefinitions } from '@slipway/api';
import { createApiServer, createAuthority, builtinResources, issueCertificate } from '@slipway/apiserver';
import { controllers } from '@slipway/controllers';
import { ControllerManager, silentLogger, systemClock } from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';
import { fakeNodeConnector } from '@slipway/testkit';

const token = randomBytes(24).toString('hex');
const notBefore = new Date(Date.now() - 60_000);
const notAfter = new Date(Date.now() + 86_400_000);
const startedMs = performance.now();
const authority = await createAuthority({ commonName: 'conformance', notBefore, notAfter });
const tls = await issueCertificate(authority, {
  commonName: 'slipway-server',
  usages: ['server'],
  dnsNames: ['localhost'],
  ipAddresses: ['127.0.0.1'],
  notBefore,
  notAfter,
});
const server = await createApiServer({
  store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
  definitions: builtinResources(),
  bundledCrds: bundledCustomResourceDefinitions(),
  tokens: new Map([[token, { username: 'admin', uid: 'admin', groups: ['system:masters'] }]]),
  logError: (error, what) => console.error(what, error),
});
const listener = await server.listen({
  host: '127.0.0.1',
  port: Number(process.env['PORT'] ?? 0),
  tls: { ...tls, clientCa: authority.cert },
});
console.log(JSON.stringify({ port: listener.port, token, readyMs: Math.round(performance.now() - startedMs) }));
const manager = new ControllerManager({
  clientFor: (name) => server.client({ username: `system:serviceaccount:kube-system:${name}`, groups: ['system:masters'] }, name),
  clock: systemClock,
  log: silentLogger,
  random: Math.random,
  uid: randomUUID,
  nodes: fakeNodeConnector(),
  settings: { installNamespace: 'slipway', osImagesNamespace: 'slipway', caBundle: authority.cert, version: 'conformance' },
});
for (const registration of controllers) manager.register(registration);
const stop = new AbortController();
manager.start(stop.signal);
process.stdin.resume();
process.stdin.on('end', () => {
  stop.abort();
  void manager
    .stopped()
    .then(() => server.close())
    .then(() => process.exit(0));
});
