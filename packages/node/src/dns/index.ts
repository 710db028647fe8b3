export { type DnsServerDeps, runDnsServer } from './dns-server.ts';
export { upstreamServers } from './upstreams.ts';
