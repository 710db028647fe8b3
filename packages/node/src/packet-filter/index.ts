export { isOf, nameHash } from './family.ts';
export { Settler } from './settler.ts';
