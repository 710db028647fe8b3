export * from './admission.ts';
export * from './aggregated-api.ts';
export * from './node-connector.ts';
export * from './reconciler.ts';
