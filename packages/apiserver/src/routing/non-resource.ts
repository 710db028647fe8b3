import { StatusError } from '@slipway/apimachinery';
import { handleMonitoring } from './metrics-routes.ts';
import { groupVersionPaths, handleDiscovery } from '../discovery/discovery.ts';
import { handleOpenApi } from '../openapi/openapi.ts';
import type { Answer, Call } from '../pipeline/server-context.ts';
import { methodNotAllowed } from '../pipeline/resource-handler.ts';

const TEXT = { 'content-type': 'text/plain; charset=utf-8' };
export const pageNotFound = (): Answer => ({
  status: 404,
  headers: { ...TEXT, 'x-content-type-options': 'nosniff' },
  text: '404 page not found\n',
});

/** Kubernetes version whose behaviour is served; Helm and others read it as SemVer. */
const VERSION = {
  major: '1',
  minor: '26',
  gitVersion: 'v1.26.15',
  gitCommit: '1649f592f1909b97aa3c2a0a8f968a3fd05a7b8b',
  gitTreeState: 'clean',
  buildDate: '2024-03-14T01:05:39Z',
  goVersion: 'go1.21.8',
  compiler: 'gc',
  platform: 'linux/amd64',
};

const HEALTH = /^\/(healthz|livez|readyz)(?:\/([a-z-]+))?\/?$/;
const CHECKS = ['ping', 'log', 'etcd'];

/** Answers everything that is not about a resource: version, health, discovery, OpenAPI. */
export async function handleNonResource(call: Call): Promise<Answer> {
  const { path, method } = call.request;
  if (path === '/version' || path === '/version/') return method === 'GET' ? { status: 200, value: VERSION } : pageNotFound();
  const monitoring = await handleMonitoring(call);
  if (monitoring !== undefined) return monitoring;
  const health = HEALTH.exec(path);
  if (health !== null) return healthAnswer(call, health[1] ?? '', health[2]);
  if (path === '/.well-known/openid-configuration')
    return { status: 200, value: call.server.serviceAccountTokens.openIdConfiguration() };
  if (path === '/openid/v1/jwks') {
    return {
      status: 200,
      headers: { 'content-type': 'application/jwk-set+json' },
      text: JSON.stringify(await call.server.serviceAccountTokens.jwks()),
    };
  }
  const openApi = await handleOpenApi(call);
  if (openApi !== undefined) return openApi;
  const discovery = handleDiscovery(call);
  if (discovery !== undefined) {
    if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed();
    return discovery;
  }
  if (path === '/') return { status: 200, value: { paths: [...rootPaths(), ...groupVersionPaths(call.server)].sort() } };
  return pageNotFound();
}

const rootPaths = (): string[] => [
  '/api',
  '/api/v1',
  '/apis',
  '/healthz',
  '/livez',
  '/metrics',
  '/openapi/v2',
  '/openapi/v3',
  '/readyz',
  '/version',
];

function healthAnswer(call: Call, probe: string, check: string | undefined): Answer {
  if (check !== undefined && !CHECKS.includes(check)) return pageNotFound();
  if (!call.server.isReady())
    throw new StatusError({ code: 503, reason: 'ServiceUnavailable', message: 'The server is starting' });
  if (check === undefined && call.request.query.has('verbose')) {
    const lines = CHECKS.map((name) => `[+]${name} ok\n`).join('');
    return { status: 200, headers: TEXT, text: `${lines}${probe} check passed\n` };
  }
  return { status: 200, headers: TEXT, text: 'ok' };
}
