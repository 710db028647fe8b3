export { moverProcess } from './mover/process.ts';
export { type MoverIo, type MoverOutcome, runMover } from './mover/main.ts';
export type { ImageTools, ToolLimits } from './mover/image-tools.ts';
export type { ProgressLine } from './mover/progress.ts';
export { hostImageTools } from './mover/host-image-tools.ts';
