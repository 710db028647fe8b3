import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, forbidden, invalid, notSupported, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const VIDEO: Readonly<Record<string, readonly string[]>> = {
  amd64: ['vga', 'cirrus', 'virtio', 'ramfb', 'bochs'],
  arm64: ['virtio', 'ramfb'],
  s390x: ['virtio'],
};
const PANIC_MODELS = ['hyperv', 'isa', 'pvpanic'];
const ONE_KIND = 'One and only one launchSecurity type should be set';
const notEnabled = (gate: string): string => `${gate} feature gate is not enabled in kubevirt-config`;

function checkInputs(path: string, spec: Spec): readonly Cause[] {
  return (spec.domain.devices.inputs ?? []).flatMap(({ bus, type }, index) => {
    const field = `${path}.domain.devices.inputs[${index}]`;
    return [
      ...when(bus !== undefined && !['', 'virtio', 'usb'].includes(bus), () =>
        invalid(`${field}.bus`, 'Input device can have only virtio or usb bus.'),
      ),
      ...when(type !== undefined && type !== '' && type !== 'tablet', () =>
        invalid(`${field}.type`, 'Input device can have only tablet type.'),
      ),
    ];
  });
}

function checkHostDevices(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const { gpus = [], hostDevices = [] } = spec.domain.devices;
  const framebuffers = gpus.filter(({ virtualGPUOptions }) => {
    const display = virtualGPUOptions?.display;
    return display && display.enabled !== false && display.ramFB?.enabled !== false;
  });
  const sources = (list: 'gpus' | 'hostDevices') =>
    (spec.domain.devices[list] ?? []).flatMap(({ deviceName, claimName, requestName }, index) => {
      const field = `${path}.domain.devices.${list}[${index}]`;
      const byClaim = claimName !== undefined || requestName !== undefined;
      return [
        ...when(Boolean(deviceName) && byClaim, () => invalid(field, 'deviceName and claimRequest are mutually exclusive')),
        ...when(!deviceName && !byClaim, () => required(field, 'either deviceName or claimRequest must be set')),
      ];
    });
  return [
    ...when(gpus.length > 0 && !config.hasGate('GPU'), () => invalid(`${path}.GPUs`, notEnabled('GPU'))),
    ...when(framebuffers.length > 1, () => invalid(`${path}.GPUs`, 'configuring multiple displays with ramfb is not valid ')),
    ...when(hostDevices.length > 0 && !config.hasGate('HostDevices'), () =>
      invalid(`${path}.HostDevices`, notEnabled('Host Devices')),
    ),
    ...sources('gpus'),
    ...sources('hostDevices'),
  ];
}

function checkDisplay(path: string, spec: Spec): readonly Cause[] {
  const { video, autoattachGraphicsDevice, sound } = spec.domain.devices;
  const architecture = spec.architecture ?? 'amd64';
  const type = video?.type ?? '';
  const field = `${path}.domain.devices.video`;
  const known = VIDEO[architecture] ?? [];
  return [
    ...when(type !== '' && !known.includes(type), () =>
      notSupported(`${field}.type`, `video type ${type} is not supported on ${architecture}; use one of ${known.join(', ')}`),
    ),
    ...when(video !== undefined && autoattachGraphicsDevice === false, () =>
      invalid(field, 'video configuration is not allowed when autoattachGraphicsDevice is set to false'),
    ),
    ...when(sound && !sound.name, () => invalid(`${path}.Sound`, 'Sound device requires a name field.')),
    ...when(sound && !['', 'ich9', 'ac97'].includes(sound.model ?? ''), () =>
      invalid(`${path}.Sound`, "Sound device type is not supported. Options: 'ich9' or 'ac97'"),
    ),
    ...when(sound && architecture === 'arm64', () =>
      notSupported(`${path}.domain.devices.sound`, 'Arm64 not support sound device'),
    ),
  ];
}

function checkWatchdog(path: string, spec: Spec): readonly Cause[] {
  const { watchdog } = spec.domain.devices;
  if (!watchdog) return [];
  const field = `${path}.domain.devices.watchdog`;
  const architecture = spec.architecture ?? 'amd64';
  if (architecture === 'arm64') return [notSupported(field, 'Arm64 not support Watchdog device')];
  const wrong = architecture === 's390x' ? watchdog.i6300esb : watchdog.diag288;
  return when(wrong !== undefined, () =>
    notSupported(field, `${architecture} only supports ${architecture === 's390x' ? 'Diag288' : 'I6300ESB'} watchdog device`),
  );
}

function checkGates(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const { devices } = spec.domain;
  const at = `${path}.domain.devices`;
  const efi = spec.domain.firmware?.bootloader?.efi;
  const gates: readonly [boolean, string, string, string][] = [
    [devices.autoattachVSOCK === true, 'VSOCK', `${at}.autoattachVSOCK`, notEnabled('VSOCK')],
    [
      devices.downwardMetrics !== undefined,
      'DownwardMetrics',
      `${at}.downwardMetrics`,
      'downwardMetrics virtio serial is not allowed: DownwardMetrics feature gate is not enabled',
    ],
    [
      efi?.persistent === true,
      'VMPersistentState',
      `${path}.domain.firmware.bootloader.efi.persistent`,
      notEnabled('VMPersistentState'),
    ],
    [devices.tpm?.persistent === true, 'VMPersistentState', `${at}.tpm.persistent`, notEnabled('VMPersistentState')],
    [spec.domain.rebootPolicy !== undefined, 'RebootPolicy', `${path}.domain.rebootPolicy`, notEnabled('RebootPolicy')],
    [
      spec.domain.memory?.reservedOverhead !== undefined,
      'ReservedOverheadMemlock',
      `${path}.domain.memory.reservedOverhead`,
      notEnabled('ReservedOverheadMemlock'),
    ],
    [(devices.panicDevices ?? []).length > 0, 'PanicDevices', `${at}.panicDevices`, notEnabled('PanicDevices')],
    [(spec.utilityVolumes ?? []).length > 0, 'UtilityVolumes', `${path}.utilityVolumes`, notEnabled('UtilityVolumes')],
  ];
  return gates.flatMap(([used, gate, field, message]) => when(used && !config.hasGate(gate), () => invalid(field, message)));
}

function checkPanic(path: string, spec: Spec): readonly Cause[] {
  const devices = spec.domain.devices.panicDevices ?? [];
  const all = `${path}.domain.devices.panicDevices`;
  if (devices.length > 0 && spec.architecture === 's390x') return [invalid(all, 's390x does not support panic devices')];
  return devices.flatMap(({ model }, index) =>
    when(model !== undefined && !PANIC_MODELS.includes(model), () =>
      invalid(`${all}[${index}].model`, `panic device model ${model} is not supported; use one of ${PANIC_MODELS.join(', ')}`),
    ),
  );
}

function checkIoThreads(path: string, spec: Spec): readonly Cause[] {
  const { ioThreadsPolicy: policy, ioThreads } = spec.domain;
  if (policy === undefined) return [];
  const field = `${path}.domain.ioThreadsPolicy`;
  if (!['shared', 'auto', 'supplementalPool'].includes(policy)) return [invalid(field, `Invalid IOThreadsPolicy (${policy})`)];
  const count = ioThreads?.supplementalPoolThreadCount ?? 0;
  return when(policy === 'supplementalPool' && count < 1, () =>
    invalid(
      `${path}.domain.ioThreads.supplementalPoolThreadCount`,
      'the number of iothreads needs to be set and positive for the supplementalPool policy',
    ),
  );
}

function checkLoader(field: string, name: string, spec: Spec): readonly Cause[] {
  const efi = spec.domain.firmware?.bootloader?.efi;
  if (!efi) return [invalid(field, `${name} requires OVMF (UEFI)`)];
  return [
    ...when(name !== 'TDX' && efi.secureBoot !== false, () => invalid(field, `${name} does not work along with SecureBoot`)),
    ...when(name !== 'SEV' && efi.persistent === true, () =>
      invalid(field, `${name} does not work along with Persistent EFI variables`),
    ),
  ];
}

function checkConfidential(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const { launchSecurity: security, devices } = spec.domain;
  if (!security) return [];
  const field = `${path}.launchSecurity`;
  const { sev, snp, tdx } = security;
  const types = [sev, snp, tdx].filter((type) => type !== undefined).length;
  // on s390x there is one kind alone, which has no name
  if (types === 0) return when(spec.architecture !== 's390x', () => forbidden(field, ONE_KIND));
  const name = sev ? 'SEV' : snp ? 'SEV-SNP' : 'TDX';
  const gate = tdx ? 'WorkloadEncryptionTDX' : 'WorkloadEncryptionSEV';
  const bootable = (devices.interfaces ?? []).filter(({ bootOrder }) => bootOrder !== undefined).map((nic) => nic.name);
  return [
    ...when(types > 1, () => forbidden(field, ONE_KIND)),
    ...when(spec.architecture === 'arm64', () => invalid(field, 'Confidential computing is not supported on arm64')),
    ...(config.hasGate(gate) ? checkLoader(field, name, spec) : [invalid(field, notEnabled(gate))]),
    ...when(sev?.attestation !== undefined && spec.startStrategy !== 'Paused', () =>
      invalid(field, "SEV attestation requires VMI StartStrategy 'Paused'"),
    ),
    ...when(tdx !== undefined && spec.domain.features?.smm !== undefined && spec.domain.features.smm.enabled !== false, () =>
      invalid(field, 'TDX does not work along with SMM'),
    ),
    ...bootable.map((nic) => invalid(field, `${name} does not work with bootable NICs: ${nic}`)),
  ];
}

/** Devices other than disks and interfaces. */
export function checkDevices(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const filesystems = spec.domain.devices.filesystems ?? [];
  return [
    ...checkInputs(path, spec),
    ...checkIoThreads(path, spec),
    ...checkHostDevices(path, spec, config),
    ...checkDisplay(path, spec),
    ...checkWatchdog(path, spec),
    ...checkPanic(path, spec),
    ...checkGates(path, spec, config),
    ...checkConfidential(path, spec, config),
    ...filesystems.flatMap(({ name }, index) =>
      when(filesystems.findIndex((other) => other.name === name) !== index, () =>
        invalid(`${path}.domain.devices.filesystems[${index}].name`, `Filesystem ${name} is defined more than once`),
      ),
    ),
  ];
}
