export * from './agent/index.ts';
export type * from './contracts.ts';
