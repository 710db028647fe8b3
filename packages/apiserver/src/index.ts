export * from './api-server.ts';
export * from './registry/resource-definition.ts';
export type { AdmissionPlugin } from './admission/admission-chain.ts';
export type { TokenAuthenticator } from './authn/authenticator.ts';
export type { ListenOptions, Listener } from './http/http-server.ts';
export type { ApiRequest, ApiResponse } from './pipeline/request.ts';
export type { AuditEvent } from './pipeline/server-context.ts';
export * from './pki/certificates.ts';
export * from './registry/simple-definition.ts';
