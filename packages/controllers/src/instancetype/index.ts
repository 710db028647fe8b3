export { expandVm } from './expand-vm.ts';
export { InferenceError, withInferredTypes } from './infer-types.ts';
export { resolveTypes } from './resolve-types.ts';
export { pinTypes, type TypeRevisionDeps } from './type-revisions.ts';
