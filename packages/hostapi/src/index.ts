export * from './attached-process.ts';
export * from './supervised-process.ts';
export * from './process-record.ts';
export * from './stream-process.ts';
