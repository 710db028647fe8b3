export { type HotplugDiskPlan, planHotplugDisk, spareIoThreads, type TakenDevices } from './plan-disk.ts';
export { bootInstance, hotpluggableVolumes, isHotpluggable, withoutHotplugVolumes } from './volumes.ts';
