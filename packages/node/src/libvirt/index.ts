export type { DomainEvent, DomainRef } from './domain-event.ts';
export * from './libvirt-connection.ts';
export { DOMAIN_STATE, ERROR_CODE, LIFECYCLE, STOPPED, WATCHDOG_POWEROFF } from './protocol.ts';
export { LibvirtError } from './rpc-connection.ts';
