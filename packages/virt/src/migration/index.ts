export {
  liveMigrationObstacle,
  type MigrationObstacle,
  migrationMethod,
  storageMigrationObstacle,
} from './live-migratable.ts';
export { type MigrationSettings, matchingPolicy, migrationSettings } from './settings.ts';
