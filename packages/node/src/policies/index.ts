export { type PolicyFilterDeps, runPolicyFilter } from './policy-filter.ts';
