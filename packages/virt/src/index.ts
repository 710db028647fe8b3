export * from './config.ts';
export * from './domain/index.ts';
export * from './quantity.ts';
export * from './xml.ts';
