export { dumpMemory } from './dump-memory.ts';
