export type { MigrationDeps, MovableGuest, TargetParts } from './contracts.ts';
export { IncomingMigration, type Received } from './incoming-migration.ts';
export { readMigrationRecord } from './migration-record.ts';
export { roleOf } from './migration-state.ts';
export { OutgoingMigration } from './outgoing-migration.ts';
