export * from './guarded-http.ts';
export * from './registry-manifest.ts';
export * from './registry-reference.ts';
export * from './registry-session.ts';
