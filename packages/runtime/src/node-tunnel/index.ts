export * from './channel-frames.ts';
export { duplexOf } from './message-duplex.ts';
export { nodeUser, TUNNEL_GROUP } from './protocol.ts';
export * from './tunnel-agent.ts';
export * from './tunnel-server.ts';
