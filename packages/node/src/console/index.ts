export { ConsoleHub, type ConsoleHubDeps } from './console-hub.ts';
export { type ConsoleLog, openConsoleLog, readConsoleLog, readTimedLog, removeConsoleLog, type TimedLog } from './console-log.ts';
export { FirmwareWatch } from './firmware-watch.ts';
export { type ForwardTarget, openForward, parseForward } from './port-forward.ts';
export { UsbRedirections } from './usb-redirections.ts';
export { VncSessions } from './vnc-sessions.ts';
