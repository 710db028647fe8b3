export { HostDevices, type HostDevicesDeps, type PodDevices } from './host-devices.ts';
