import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '@slipway/testkit';
import { debianProgram } from './debian-program.ts';
import { freePort } from './platform.ts';

export const LOGIN = { user: 'joe', password: 'the password of joe' };
/** What `/headers/` wants to be told. */
export const HEADERS = { plain: 'X-Project: images', secret: 'X-Token: a-token-of-the-test' };

/** nginx in front of a directory and of a container registry. */
export interface ImageServers {
  /** Files lie here; they are served below `/`, `/basic/`, `/headers/` and `/whole/` (without ranges). */
  readonly filesDir: string;
  readonly http: string;
  /** The same with a certificate of `ca`. */
  readonly https: string;
  /** `host:port` that speaks plain HTTP, to be named as insecure. */
  readonly registry: string;
  /** The same registry behind TLS and a login. */
  readonly secureRegistry: string;
  /** PEM. */
  readonly ca: string;
  close(): Promise<void>;
}

interface Ports {
  readonly http: number;
  readonly https: number;
  readonly registry: number;
  readonly secureRegistry: number;
}

const nginxConfig = (dir: string, ports: Ports): string => `
daemon off;
user root;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr error;
events {}
http {
  access_log off;
  types {}
  default_type application/octet-stream;
  client_max_body_size 0;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/temp;`).join('\n  ')}
  ssl_certificate ${dir}/server.crt;
  ssl_certificate_key ${dir}/server.key;
  auth_basic_user_file ${dir}/users;
  map "$http_x_project/$http_x_token" $is_known { default 0; "images/a-token-of-the-test" 1; }
  server {
    listen 127.0.0.1:${ports.http};
    listen 127.0.0.1:${ports.https} ssl;
    root ${dir}/files;
    location /basic/ { auth_basic images; alias ${dir}/files/; }
    location /headers/ { if ($is_known = 0) { return 403; } alias ${dir}/files/; }
    location /whole/ { max_ranges 0; etag off; alias ${dir}/files/; }
    location /moved/ { rewrite ^/moved/(.*)$ /$1 redirect; }
  }
  server {
    listen 127.0.0.1:${ports.secureRegistry} ssl;
    auth_basic registry;
    location / { proxy_pass http://127.0.0.1:${ports.registry}; proxy_set_header Host $http_host; proxy_set_header Authorization ""; }
  }
}
`;

const registryConfig = (dir: string, port: number): string => `
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${dir}/registry } }
http: { addr: "127.0.0.1:${port}" }
`;

/** Starts both in a directory of their own; resolves when they answer. */
export async function startImageServers(dir: string): Promise<ImageServers> {
  for (const name of ['files', 'temp', 'registry']) mkdirSync(join(dir, name), { recursive: true });
  const [http, https, registry, secureRegistry] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const ports = { http, https, registry, secureRegistry };
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000) };
  const authority = await createAuthority({ commonName: 'images', ...validity });
  const { cert, key } = await issueCertificate(authority, {
    ...{ commonName: 'image server', usages: ['server'], ipAddresses: ['127.0.0.1'], ...validity },
  });
  const files = { 'server.crt': cert, 'server.key': key, users: `${LOGIN.user}:{PLAIN}${LOGIN.password}\n` };
  const configs = { 'nginx.conf': nginxConfig(dir, ports), 'registry.yml': registryConfig(dir, registry) };
  for (const [name, text] of Object.entries({ ...files, ...configs })) writeFileSync(join(dir, name), text, { mode: 0o600 });
  const children = [
    start(debianProgram('nginx', '/usr/sbin/nginx', dir), ['-e', 'stderr', '-c', join(dir, 'nginx.conf')]),
    start(debianProgram('docker-registry', '/usr/bin/docker-registry', dir), ['serve', join(dir, 'registry.yml')]),
  ];
  const close = async (): Promise<void> => void (await Promise.all(children.map(stop)));
  try {
    for (const port of Object.values(ports)) await answers(port, children);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    filesDir: join(dir, 'files'),
    http: `http://127.0.0.1:${http}`,
    https: `https://127.0.0.1:${https}`,
    registry: `127.0.0.1:${registry}`,
    secureRegistry: `127.0.0.1:${secureRegistry}`,
    ca: authority.cert,
    close,
  };
}

const start = (path: string, args: readonly string[]): ChildProcess =>
  spawn(path, args, { stdio: ['ignore', 'ignore', 'inherit'] });

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

const PATIENCE_MS = 60_000;

async function answers(port: number, children: readonly ChildProcess[]): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isOpen) return;
    const hasEnded = children.some(({ exitCode }) => exitCode !== null);
    if (hasEnded || Date.now() > deadline) throw new Error(`Nothing listens on port ${port}`);
  }
}
