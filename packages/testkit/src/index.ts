export * from './builders.ts';
export * from './fake-clock.ts';
export * from './fake-node-connector.ts';
export * from './memory-cluster.ts';
export * from './test-world.ts';
export * from './server-cluster.ts';
export * from './https-server.ts';
export * from './fuzz/index.ts';
