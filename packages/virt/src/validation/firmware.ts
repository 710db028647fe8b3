import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { HYPERV_DEPENDENCIES } from '../defaults/default-features.ts';
import { type Cause, invalid, notSupported, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const MAX_SERIAL = 256;

const DEFAULT_MACHINES: Readonly<Record<string, readonly string[]>> = {
  amd64: ['q35*', 'pc-q35*'],
  arm64: ['virt*'],
  s390x: ['s390-ccw-virtio*'],
};

/** Machine type patterns that the cluster allows for an architecture. */
export function allowedMachines(architecture: string, config: ClusterConfig): readonly string[] {
  const { emulatedMachines, architectureConfiguration } = config.configuration;
  const own =
    architecture === 'amd64' || architecture === 'arm64' || architecture === 's390x'
      ? architectureConfiguration?.[architecture]
      : undefined;
  return (
    own?.emulatedMachines ?? (architecture === 'amd64' ? emulatedMachines : undefined) ?? DEFAULT_MACHINES[architecture] ?? []
  );
}

function matchesGlob(text: string, glob: string): boolean {
  const pattern = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${pattern}$`).test(text);
}

function checkMachine(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const type = spec.domain.machine?.type;
  // An unknown architecture is reported by itself.
  if (!type || (DEFAULT_MACHINES[spec.architecture ?? config.defaultArchitecture] === undefined && spec.architecture)) return [];
  const allowed = allowedMachines(spec.architecture ?? config.defaultArchitecture, config);
  const field = `${path}.domain.machine.type`;
  return when(!allowed.some((glob) => matchesGlob(type, glob)), () =>
    invalid(field, `${field} is not supported: ${type} (allowed values: [${allowed.join(' ')}])`),
  );
}

function checkKernelBoot(path: string, boot: kubevirt.KernelBoot | undefined): readonly Cause[] {
  if (!boot) return [];
  const field = `${path}.domain.firmware.kernelBoot`;
  const { container, kernelArgs } = boot;
  const at = `${field}.container`;
  return [
    ...when(Boolean(kernelArgs) && !container?.kernelPath, () =>
      invalid(`${field}.kernelArgs`, 'kernel arguments cannot be provided without an external kernel'),
    ),
    ...when(container && !container.image, () => required(`${at}.image`, `${at} must be defined with an image`)),
    ...when(container && !container.kernelPath && !container.initrdPath, () =>
      required(at, `${at} must be defined with at least one of the following: kernelPath, initrdPath`),
    ),
  ];
}

function checkAcpi(path: string, spec: Spec): readonly Cause[] {
  const acpi = spec.domain.firmware?.acpi;
  if (!acpi) return [];
  const field = `${path}.domain.firmware.acpi`;
  const refs = [
    ['slicNameRef', acpi.slicNameRef],
    ['msdmNameRef', acpi.msdmNameRef],
  ] as const;
  if (refs.every(([, name]) => !name)) return [invalid(field, 'ACPI was set but no SLIC nor MSDM volume reference was set')];
  return refs.flatMap(([key, name]) => {
    const volume = (spec.volumes ?? []).find((candidate) => candidate.name === name);
    return when(Boolean(name) && !volume?.secret, () =>
      invalid(`${field}.${key}`, `${field} refers to Volume ${name}, which must be a Secret volume`),
    );
  });
}

function checkBootloader(path: string, spec: Spec): readonly Cause[] {
  const { firmware, features } = spec.domain;
  const { efi, bios } = firmware?.bootloader ?? {};
  const field = `${path}.domain.firmware.bootloader`;
  const isArm = spec.architecture === 'arm64';
  const secure = efi !== undefined && (efi.secureBoot ?? !isArm);
  const smm = features?.smm !== undefined && features.smm.enabled !== false;
  return [
    ...when(efi !== undefined && bios !== undefined, () =>
      invalid(`${field}.efi`, `${field} has both EFI and BIOS configured, but they are mutually exclusive.`),
    ),
    ...when(secure && !smm && !isArm && !spec.domain.launchSecurity, () =>
      invalid(
        `${path}.domain`,
        `${path}.domain has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled.`,
      ),
    ),
    ...when(isArm && bios !== undefined, () =>
      notSupported(`${field}.bios`, 'Arm64 does not support bios boot, please change to uefi boot'),
    ),
    ...when(isArm && efi?.secureBoot === true, () =>
      notSupported(`${field}.efi.secureboot`, 'UEFI secure boot is currently not supported on aarch64 Arch'),
    ),
  ];
}

function checkFirmware(path: string, spec: Spec): readonly Cause[] {
  const { firmware } = spec.domain;
  const serial = firmware?.serial ?? '';
  const field = `${path}.domain.firmware.serial`;
  return [
    ...when(serial.length > MAX_SERIAL, () =>
      invalid(field, `${field} must be less than or equal to ${MAX_SERIAL} in length, if specified`),
    ),
    ...when(serial !== '' && serial.length <= MAX_SERIAL && !/^[A-Za-z0-9_.+-]+$/.test(serial), () =>
      invalid(field, `${field} must be made up of the following characters [A-Za-z0-9_.+-], if specified`),
    ),
    ...checkBootloader(path, spec),
    ...checkKernelBoot(path, firmware?.kernelBoot),
    ...checkAcpi(path, spec),
  ];
}

type Flags = Readonly<Record<string, { readonly enabled?: boolean } | undefined>>;

function checkHyperv(path: string, spec: Spec): readonly Cause[] {
  const { hyperv, hypervPassthrough } = spec.domain.features ?? {};
  const field = `${path}.domain.features.hyperv`;
  if (hyperv && hypervPassthrough && hypervPassthrough.enabled !== false)
    return [
      invalid(
        field,
        'Cannot explicitly set hyperV features if HypervPassthrough is being used. Please use either HypervPassthrough or Hyperv.',
      ),
    ];
  if (!hyperv) return [];
  const flags = hyperv as Flags; // every member has `enabled`
  const isOn = (name: string) => flags[name] !== undefined && flags[name].enabled !== false;
  return [
    ...HYPERV_DEPENDENCIES.flatMap(([name, needed]) =>
      when(isOn(name) && flags[needed]?.enabled === false, () =>
        invalid(`${field}.${name}`, `'${field}.${name}' requires '${field}.${needed}', which was disabled.`),
      ),
    ),
    ...(isOn('evmcs') ? checkNestedCpu(path, spec) : []),
  ];
}

/** Enlightened VMCS is of use to a guest with nested virtualization alone. */
function checkNestedCpu(path: string, { domain }: Spec): readonly Cause[] {
  const features = domain.cpu?.features ?? [];
  const index = features.findIndex(({ name }) => name === 'vmx');
  const field = `${path}.domain.cpu.features`;
  if (index < 0) return [required(field, 'vmx cpu feature is required when evmcs is set')];
  const policy = features[index]?.policy ?? '';
  return when(policy !== '' && policy !== 'require', () =>
    invalid(`${field}[${index}].policy`, 'vmx cpu feature has to be set to require policy'),
  );
}

/** Machine type, firmware, features. */
export function checkPlatform(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  return [...checkMachine(path, spec, config), ...checkFirmware(path, spec), ...checkHyperv(path, spec)];
}
