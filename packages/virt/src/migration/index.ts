export { type MigrationSettings, matchingPolicy, migrationSettings } from './settings.ts';
