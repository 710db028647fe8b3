export { type PolicyFilterDeps, runPolicyFilter } from './policy-filter.ts';
export { type LinkFilterDeps, runLinkFilter } from './link-filter.ts';
