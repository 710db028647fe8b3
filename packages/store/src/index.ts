export * from './store.ts';
export * from './store-fs.ts';
export * from './types.ts';
export { type Copied, backupStore, restoreStore } from './backup.ts';
export { type StoreCheck, checkStore } from './check.ts';
export { memoryStoreFs } from './memory-fs.ts';
