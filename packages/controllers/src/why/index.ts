export { type Cause, explainWhy, type WhyFacts, type WhyReport, type WhyState } from './explain-why.ts';
export { type ClusterLists, schedulingFactsOf } from './scheduling-facts.ts';
export { type NodeVerdict, nodeStatusText, nodeVerdicts } from './node-verdicts.ts';
export { type NamespaceLists, selectFacts, type WhyKind, type WhySubject } from './select-facts.ts';
