export { type CredentialAgent, type CredentialOutcome, CredentialSync } from './credential-sync.ts';
