export { type VmConsoleProxy, vmConsoleProxy } from './vm-console-proxy.ts';
