export type { DomainEvent, DomainRef } from './domain-event.ts';
export * from './libvirt-connection.ts';
export type { MigrateOptions } from './plan-migrate.ts';
export {
  DOMAIN_STATE,
  ERROR_CODE,
  LIFECYCLE,
  PAUSED_REASON,
  SHUTOFF_MIGRATED,
  STOPPED,
  SUSPENDED,
  WATCHDOG_POWEROFF,
} from './protocol.ts';
export { LibvirtError } from './rpc-connection.ts';
