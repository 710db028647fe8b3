export { gitOpsController, type GitOpsParts } from './application/index.ts';
export * from './kinds.ts';
export { parseObjects } from './sources/manifests.ts';
export { isInside, pathWithin, readChart, readTree, TreeError } from './sources/read-tree.ts';
