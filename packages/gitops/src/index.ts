export { type GitOps, gitOps, type GitOpsParts } from './application/index.ts';
export { MANAGED_RESOURCES, type ManagedResource } from './application/managed-resources.ts';
export type { SourceReach } from './sources/reach.ts';
export * from './kinds.ts';
export { parseObjects } from './sources/manifests.ts';
export { isInside, pathWithin, readChart, readTree, TreeError } from './sources/read-tree.ts';
