export { runServiceProxy, type ServiceProxyDeps } from './service-proxy.ts';
