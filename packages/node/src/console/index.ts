export { ConsoleHub, type ConsoleHubDeps } from './console-hub.ts';
