export * from './store.ts';
export * from './store-fs.ts';
export * from './types.ts';
export { checkStore } from './check.ts';
export { memoryStoreFs } from './memory-fs.ts';
