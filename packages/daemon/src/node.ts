import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { createHttpClient, loadKubeconfigs, resolveKubeconfig } from '@slipway/client';
import { runNodeAgent } from '@slipway/node';
import { systemClock } from '@slipway/runtime';
import { loadIdentity } from './agent/agent-identity.ts';
import { keepCertificate } from './agent/renew-certificate.ts';
import { requireInstance } from './instance/instance-store.ts';
import { logFile } from './instance/paths.ts';
import type { NodeSettings } from './lifecycle/component-specs.ts';
import { nodeConfig } from './lifecycle/node-config.ts';
import { createLog, loggerOf } from './logging.ts';
import { defaultLinks, nodeAddresses } from './node-addresses.ts';
import { announceReady, terminationSignal } from './ready.ts';
import { VERSION } from './version.ts';

/** A node agent, `node <data-dir> <node> <settings>`. Runs as root until SIGTERM; guests outlive it. */
export async function main([dataDir = '', nodeName = '', settingsJson = '{}']: readonly string[]): Promise<void> {
  const settings = JSON.parse(settingsJson) as NodeSettings; // written by nodeSpec
  const { config, paths } = requireInstance(dataDir);
  const node = config.nodes.find(({ name }) => name === nodeName);
  if (node === undefined) throw new Error(`This installation has no node ${nodeName}`);
  const log = createLog(logFile(paths, node.name), `node ${node.name}`, 'info');

  process.on('uncaughtException', (error) => {
    log.fatal({ error: error.stack }, 'uncaught exception');
    process.exit(1);
  });
  process.on('unhandledRejection', (reason) => {
    log.error({ error: reason instanceof Error ? reason.stack : String(reason) }, 'unhandled rejection');
  });

  /** Without the file there is no IPv4, and no default route of it. */
  const routes = await readFile('/proc/net/route', 'utf8').catch(() => '');

  const kubeconfig = paths.node(node.name).kubeconfig;
  const { client: connection } = await resolveKubeconfig(await loadKubeconfigs([kubeconfig]));
  const identity = loadIdentity(kubeconfig);
  const credentials = () => identity.credentials();
  const client = createHttpClient({
    ...connection,
    credentials,
    userAgent: `slipway-node/${VERSION}`,
    fieldManager: 'virt-handler',
  });
  const address = new URL(connection.server);
  const signal = terminationSignal();
  const renewing = keepCertificate({ client, identity, nodeName: node.name, clock: systemClock, log: loggerOf(log) }, signal);
  await runNodeAgent(
    {
      client,
      config: nodeConfig(node, { config, paths }),
      log: loggerOf(log),
      clock: systemClock,
      random: Math.random,
      agentVersion: settings.build === undefined ? VERSION : `${VERSION}.${settings.build}`,
      server: { host: address.hostname, port: Number(address.port === '' ? 443 : address.port) },
      addresses: nodeAddresses(networkInterfaces(), defaultLinks(routes)),
      moverProgram: [process.execPath, join(dirname(process.argv[1] ?? ''), 'mover.mjs')],
      allowedImportAddresses: settings.allowedImportAddresses,
      ...(config.server?.nodeMonitorGraceSeconds !== undefined && { leaseSeconds: config.server.nodeMonitorGraceSeconds }),
      onReady: () => {
        announceReady();
        log.info({ node: node.name }, 'node agent ready');
      },
    },
    signal,
  );
  await renewing;
  await client.close();
  process.exit(0);
}
