export * from './client.ts';
export * from './resource-path.ts';
