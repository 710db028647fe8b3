export * from './client.ts';
export * from './client-config.ts';
export { type DiscoveredKind, discoverKinds } from './discover-kinds.ts';
export type { ExecConfig, RunPlugin } from './exec-credential.ts';
export { createHttpClient } from './http-client.ts';
export * from './kubeconfig.ts';
export * from './message-queue.ts';
export * from './resource-path.ts';
export { webSocketStream } from './web-socket.ts';
