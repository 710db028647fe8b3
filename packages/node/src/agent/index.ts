export { consoleLogFile, type NodeAgentOptions, runNodeAgent } from './run-node-agent.ts';
export { destroyNode } from './destroy-node.ts';
export { type Guest, listGuests, stopGuests } from './guests.ts';
