import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureFrontProxy, ensureServiceAccountKey, ensureServing, pkiFiles } from './instance/credentials.ts';
import { requireInstance } from './instance/instance-store.ts';
import { createLog } from './logging.ts';
import { announceReady, terminationSignal } from './ready.ts';
import { startServer } from './server/start-server.ts';

const RENEWAL_CHECK_MS = 12 * 60 * 60 * 1000;
/** The key of tokens is made when nobody waits for the start any more, or when somebody asks for it. */
const KEY_AFTER_MS = 4_000;

/** The server process, `server <data-dir>`. Runs unprivileged until SIGTERM. */
export async function main([dataDir = '']: readonly string[]): Promise<void> {
  const { config, paths } = requireInstance(dataDir);
  const log = createLog(join(paths.server, 'server.log'), 'server', 'info');
  const files = pkiFiles(paths);
  const readTls = () => ({
    key: readFileSync(files.servingKey, 'utf8'),
    cert: readFileSync(files.serving, 'utf8'),
    clientCa: readFileSync(files.authority, 'utf8'),
    requestHeaderCa: readFileSync(files.frontProxyAuthority, 'utf8'),
  });
  /** Read anew for each connection that is made, so that a renewed one is used at once. */
  const frontProxy = {
    get cert() {
      return readFileSync(files.frontProxy, 'utf8');
    },
    get key() {
      return readFileSync(files.frontProxyKey, 'utf8');
    },
  };

  process.on('uncaughtException', (error) => {
    log.fatal({ error: error.stack }, 'uncaught exception');
    console.error(error.message); // this is what `slipway up` shows when the server does not start
    process.exit(1);
  });
  process.on('unhandledRejection', (reason) => {
    log.error({ error: reason instanceof Error ? reason.stack : String(reason) }, 'unhandled rejection');
  });

  const stop = terminationSignal();
  const server = await startServer(
    {
      config,
      paths,
      log,
      tls: readTls(),
      frontProxy,
      signingAuthority: { cert: readFileSync(files.authority, 'utf8'), key: readFileSync(files.authorityKey, 'utf8') },
      tokenKey: readFileSync(files.tokenKey, 'utf8'),
      serviceAccountKey: () => ensureServiceAccountKey(config, files),
    },
    stop,
  );
  const renewal = setInterval(() => {
    const authority = { cert: readFileSync(files.authority, 'utf8'), key: readFileSync(files.authorityKey, 'utf8') };
    ensureServing(config, files, authority).then(
      (renewed) => renewed && server.renewTls(readTls()),
      (error: unknown) => log.error({ error: String(error) }, 'cannot renew the serving certificate'),
    );
    ensureFrontProxy(config, files).catch((error: unknown) =>
      log.error({ error: String(error) }, 'cannot renew the certificate of the front proxy'),
    );
  }, RENEWAL_CHECK_MS);
  announceReady();
  log.info({ port: config.listenPort }, 'server ready');
  setTimeout(() => {
    server
      .prepareTokens()
      .catch((error: unknown) => log.error({ error: String(error) }, 'cannot keep the key of service account tokens'));
  }, KEY_AFTER_MS);
  stop.addEventListener('abort', () => {
    clearInterval(renewal);
    server.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ error: String(error) }, 'server did not stop cleanly');
        process.exit(1);
      },
    );
  });
}
