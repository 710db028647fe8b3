export * from './config-disks.ts';
export * from './seed.ts';
export type { IsoFile } from '../iso/layout.ts';
export { type IsoInput, writeIso } from '../iso/write-iso.ts';
