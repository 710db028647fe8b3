export { type ApiRelayDeps, runApiRelay } from './api-relay.ts';
export { runServiceProxy, type ServiceProxyDeps } from './service-proxy.ts';
