import type { kubevirt, VirtualMachineInstance } from '@slipway/api';

type Preference = kubevirt.VirtualMachinePreferenceSpec;
type Spec = kubevirt.VirtualMachineInstanceSpec;

export type PreferenceInput = Preference | undefined;

/** Sets each member of `target` that is unset and preferred; values are copied. */
function fill<T extends object>(target: T, preferred: { readonly [K in keyof T]?: T[K] | undefined }): void {
  for (const [key, value] of Object.entries(preferred)) {
    const name = key as keyof T; // entries of an object whose keys are keys of T
    if (value !== undefined && (target[name] === undefined || target[name] === ''))
      target[name] = structuredClone(value) as T[keyof T];
  }
}

function applyDisks(devices: kubevirt.Devices, preferred: kubevirt.DevicePreferences): void {
  for (const disk of devices.disks ?? []) {
    if (!disk.disk && !disk.cdrom && !disk.lun) disk.disk = {};
    if (disk.disk) fill(disk.disk, { bus: preferred.preferredDiskBus });
    if (disk.cdrom) fill(disk.cdrom, { bus: preferred.preferredCdromBus });
    if (disk.lun) fill(disk.lun, { bus: preferred.preferredLunBus });
    fill(disk, {
      cache: preferred.preferredDiskCache,
      io: preferred.preferredDiskIO,
      blockSize: preferred.preferredDiskBlockSize,
    });
    if (disk.disk?.bus === 'virtio') fill(disk, { dedicatedIOThread: preferred.preferredDiskDedicatedIoThread });
  }
}

const BINDINGS = ['bridge', 'masquerade', 'sriov', 'passtBinding', 'binding', 'slirp', 'macvtap', 'passt'] as const;

function applyInterfaces(spec: Spec, preferred: kubevirt.DevicePreferences): void {
  const podNetworks = new Set((spec.networks ?? []).filter(({ pod }) => pod !== undefined).map(({ name }) => name));
  for (const nic of spec.domain.devices.interfaces ?? []) {
    if (!nic.sriov) fill(nic, { model: preferred.preferredInterfaceModel });
    const unbound = BINDINGS.every((binding) => nic[binding] === undefined);
    if (unbound && podNetworks.has(nic.name)) fill(nic, { masquerade: preferred.preferredInterfaceMasquerade });
  }
}

function applyInputs(devices: kubevirt.Devices, preferred: kubevirt.DevicePreferences): void {
  for (const input of devices.inputs ?? []) fill(input, { bus: preferred.preferredInputBus, type: preferred.preferredInputType });
}

function applyDevices(spec: Spec, preferred: kubevirt.DevicePreferences): void {
  const { devices } = spec.domain;
  if (preferred.preferredDisableHotplug !== undefined) devices.disableHotplug = preferred.preferredDisableHotplug;
  fill(devices, {
    autoattachGraphicsDevice: preferred.preferredAutoattachGraphicsDevice,
    autoattachMemBalloon: preferred.preferredAutoattachMemBalloon,
    autoattachPodInterface: preferred.preferredAutoattachPodInterface,
    autoattachSerialConsole: preferred.preferredAutoattachSerialConsole,
    autoattachInputDevice: preferred.preferredAutoattachInputDevice,
    useVirtioTransitional: preferred.preferredUseVirtioTransitional,
    blockMultiQueue: preferred.preferredBlockMultiQueue,
    networkInterfaceMultiqueue: preferred.preferredNetworkInterfaceMultiQueue,
    rng: preferred.preferredRng,
    tpm: preferred.preferredTPM,
    video: preferred.preferredVideoType === undefined ? undefined : { type: preferred.preferredVideoType },
  });
  if (devices.sound) fill(devices.sound, { model: preferred.preferredSoundModel });
  for (const panic of devices.panicDevices ?? []) fill(panic, { model: preferred.preferredPanicDeviceModel });
  for (const gpu of devices.gpus ?? []) fill(gpu, { virtualGPUOptions: preferred.preferredVirtualGPUOptions });
  applyDisks(devices, preferred);
  applyInterfaces(spec, preferred);
  applyInputs(devices, preferred);
}

function applyFeatures(domain: kubevirt.DomainSpec, preferred: kubevirt.FeaturePreferences): void {
  const features = (domain.features ??= {});
  if (preferred.preferredAcpi !== undefined) features.acpi = structuredClone(preferred.preferredAcpi);
  fill(features, {
    apic: preferred.preferredApic,
    kvm: preferred.preferredKvm,
    pvspinlock: preferred.preferredPvspinlock,
    smm: preferred.preferredSmm,
  });
  if (preferred.preferredHyperv === undefined) return;
  features.hyperv ??= {};
  fill(features.hyperv, preferred.preferredHyperv);
}

function applyBios(loader: kubevirt.Bootloader, preferred: kubevirt.FirmwarePreferences): void {
  if (loader.efi) return;
  if (preferred.preferredUseBios) loader.bios ??= {};
  if (loader.bios) fill(loader.bios, { useSerial: preferred.preferredUseBiosSerial });
}

function applyEfi(loader: kubevirt.Bootloader, preferred: kubevirt.FirmwarePreferences): void {
  if (loader.bios) return;
  if (preferred.preferredEfi) loader.efi ??= structuredClone(preferred.preferredEfi);
  else if (preferred.preferredUseEfi) loader.efi ??= {};
  if (loader.efi) fill(loader.efi, { secureBoot: preferred.preferredUseSecureBoot });
}

function applyFirmware(domain: kubevirt.DomainSpec, preferred: kubevirt.FirmwarePreferences): void {
  const firmware = (domain.firmware ??= {});
  const loader = (firmware.bootloader ??= {});
  applyBios(loader, preferred);
  applyEfi(loader, preferred);
  if (!loader.bios && !loader.efi) delete firmware.bootloader;
}

function applyClock(domain: kubevirt.DomainSpec, preferred: kubevirt.ClockPreferences): void {
  const clock = (domain.clock ??= {});
  if (preferred.preferredClockOffset && clock.timezone === undefined && clock.utc === undefined)
    Object.assign(clock, structuredClone(preferred.preferredClockOffset));
  if (preferred.preferredTimer) {
    clock.timer ??= {};
    fill(clock.timer, preferred.preferredTimer);
  }
}

/** Fills what the instance leaves open with the preference's values. Changes `vmi`. */
export function applyPreference(vmi: VirtualMachineInstance, preference: Preference): void {
  const { spec } = vmi;
  const { domain } = spec;
  if (preference.cpu?.preferredCPUFeatures) {
    const features = ((domain.cpu ??= {}).features ??= []);
    for (const feature of preference.cpu.preferredCPUFeatures)
      if (!features.some(({ name }) => name === feature.name)) features.push({ ...feature });
  }
  if (preference.devices) applyDevices(spec, preference.devices);
  if (preference.features) applyFeatures(domain, preference.features);
  if (preference.firmware) applyFirmware(domain, preference.firmware);
  if (preference.clock) applyClock(domain, preference.clock);
  if (preference.machine?.preferredMachineType) fill((domain.machine ??= {}), { type: preference.machine.preferredMachineType });
  fill(spec, {
    subdomain: preference.preferredSubdomain,
    terminationGracePeriodSeconds: preference.preferredTerminationGracePeriodSeconds,
  });
  fill(domain, { launchSecurity: preference.preferredLaunchSecurity });
  if (preference.annotations) vmi.metadata.annotations = { ...preference.annotations, ...vmi.metadata.annotations };
}
