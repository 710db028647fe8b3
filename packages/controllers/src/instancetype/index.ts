export { expandVm } from './expand-vm.ts';
export { resolveTypes } from './resolve-types.ts';
