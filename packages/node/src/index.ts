export type * from './contracts.ts';
export * from './volumes/index.ts';
