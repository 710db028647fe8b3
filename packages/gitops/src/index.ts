export { isInside, pathWithin, readChart, readTree, TreeError } from './sources/read-tree.ts';
