export * from './fuzz.ts';
export * from './mutate.ts';
export * from './random.ts';
