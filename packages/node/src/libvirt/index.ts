export type { DomainEvent, DomainRef } from './domain-event.ts';
export * from './libvirt-connection.ts';
export { DOMAIN_STATE, ERROR_CODE, LIFECYCLE, STOPPED } from './protocol.ts';
export { LibvirtError } from './rpc-connection.ts';
