import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { el, type XmlElement } from '../xml.ts';
import { type DomainFacts, DomainPlanError, type FirmwareImage, type PlanNote } from './facts.ts';
import { mapMachineType } from './machine.ts';
import { isS390x, qemuArchitecture } from './shape.ts';

export interface FirmwarePlan {
  readonly machine: string;
  readonly isEfi: boolean;
  readonly loader: { readonly image: FirmwareImage; readonly secure: boolean; readonly rom: boolean } | undefined;
}

/** Chooses among the host's images; the order of the descriptors is their priority. */
function chooseImage(
  facts: DomainFacts,
  domain: kubevirt.DomainSpec,
  secure: boolean,
  architecture: string,
): FirmwareImage | undefined {
  const images = facts.firmware.filter((image) => image.architecture === architecture);
  const has = (image: FirmwareImage, feature: string) => image.features.includes(feature);
  const { sev, snp, tdx } = domain.launchSecurity ?? {};
  if (sev || snp) {
    const feature = snp ? 'amd-sev-snp' : sev?.policy?.encryptedState ? 'amd-sev-es' : 'amd-sev';
    return images.find((image) => has(image, feature));
  }
  if (tdx) return images.find((image) => has(image, 'intel-tdx') && has(image, 'secure-boot') === secure);
  if (secure) return images.find((image) => has(image, 'secure-boot') && has(image, 'enrolled-keys'));
  const plain = images.filter((image) => !has(image, 'enrolled-keys'));
  // Debian's ordinary builds serve encrypted guests too; elsewhere those have builds of their own, without variable store.
  const ordinary = [...plain.filter((image) => !has(image, 'amd-sev')), ...plain.filter((image) => has(image, 'amd-sev'))];
  // A secure-boot build with an empty variable store boots anything, but some of them need SMM.
  return ordinary.find((image) => !has(image, 'secure-boot') && image.vars !== undefined) ?? ordinary[0];
}

/** Machine type and firmware image. Throws DomainPlanError when this host has none that fits. */
export function planFirmware(vmi: VirtualMachineInstance, facts: DomainFacts, notes: PlanNote[]): FirmwarePlan {
  const { domain, architecture } = vmi.spec;
  const wanted = domain.machine?.type || (isS390x(architecture) ? 's390-ccw-virtio' : 'q35');
  const { type, mapped } = mapMachineType(wanted, facts.machineTypes);
  if (mapped)
    notes.push({
      reason: 'MachineTypeMapped',
      message: `Machine type ${wanted} is not known to this host's QEMU; the guest runs on ${type}`,
    });
  noteMissingTables(vmi, facts, notes);
  const efi = domain.firmware?.bootloader?.efi;
  if (!efi) return { machine: type, isEfi: false, loader: undefined };
  const secure = efi.secureBoot ?? true;
  const image = chooseImage(facts, domain, secure, qemuArchitecture(architecture));
  if (!image)
    throw new DomainPlanError(
      `This host has no EFI firmware ${secure ? 'with secure boot ' : ''}for this guest; install the ovmf package`,
      'spec.domain.firmware.bootloader.efi',
    );
  return { machine: type, isEfi: true, loader: { image, secure, rom: image.vars === undefined } };
}

function loaderElements(plan: FirmwarePlan, facts: DomainFacts): readonly XmlElement[] {
  if (!plan.loader) return [];
  const { image, secure, rom } = plan.loader;
  const format = (value: 'raw' | 'qcow2' | undefined) => (value === 'qcow2' ? 'qcow2' : undefined);
  if (rom) return [el('loader', { type: 'rom' }, image.code)];
  return [
    el(
      'loader',
      { readonly: 'yes', secure: secure ? 'yes' : 'no', type: 'pflash', format: format(image.codeFormat) },
      image.code,
    ),
    el(
      'nvram',
      { template: image.vars, templateFormat: format(image.varsFormat), format: format(image.varsFormat) },
      facts.nvramPath,
    ),
  ];
}

/** Tables that were asked for and that this node cannot show to the guest. */
function noteMissingTables(vmi: VirtualMachineInstance, facts: DomainFacts, notes: PlanNote[]): void {
  const { slicNameRef, msdmNameRef } = vmi.spec.domain.firmware?.acpi ?? {};
  const wanted = { slic: slicNameRef, msdm: msdmNameRef };
  for (const name of ['slic', 'msdm'] as const)
    if (wanted[name] && facts.acpiTables?.[name] === undefined)
      notes.push({
        reason: 'FeatureLeftOut',
        message: `The ACPI table ${name} is left out: libvirt of this node cannot pass it on`,
      });
}

function acpiElement(facts: DomainFacts): XmlElement | undefined {
  const { slic, msdm } = facts.acpiTables ?? {};
  if (slic === undefined && msdm === undefined) return undefined;
  return el(
    'acpi',
    {},
    slic !== undefined && el('table', { type: 'slic' }, slic),
    msdm !== undefined && el('table', { type: 'msdm' }, msdm),
  );
}

/** `<os>`. */
export function osElement(vmi: VirtualMachineInstance, facts: DomainFacts, plan: FirmwarePlan): XmlElement {
  const { firmware } = vmi.spec.domain;
  const boot = facts.kernelBoot;
  return el(
    'os',
    {},
    el('type', { arch: qemuArchitecture(vmi.spec.architecture), machine: plan.machine }, 'hvm'),
    loaderElements(plan, facts),
    boot?.kernel !== undefined && el('kernel', {}, boot.kernel),
    boot?.initrd !== undefined && el('initrd', {}, boot.initrd),
    boot && firmware?.kernelBoot?.kernelArgs !== undefined && el('cmdline', {}, firmware.kernelBoot.kernelArgs),
    acpiElement(facts),
    vmi.spec.startStrategy === 'Paused' && el('bootmenu', { enable: 'yes', timeout: 10_000 }),
    !isS390x(vmi.spec.architecture) && el('smbios', { mode: 'sysinfo' }),
    firmware?.bootloader?.bios?.useSerial === true && el('bios', { useserial: 'yes' }),
  );
}

/** `<sysinfo>`: what dmidecode shows in the guest. */
export function sysinfoElement(vmi: VirtualMachineInstance, facts: DomainFacts): XmlElement | undefined {
  if (isS390x(vmi.spec.architecture)) return undefined;
  const { firmware, chassis } = vmi.spec.domain;
  const { manufacturer, product, family, sku, version } = facts.config.configuration.smbios ?? {};
  const entry = (name: string, value: string | undefined) => value !== undefined && el('entry', { name }, value);
  const chassisEntries = Object.entries(chassis ?? {}).map(([name, value]) => entry(name, String(value)));
  return el(
    'sysinfo',
    { type: 'smbios' },
    el(
      'system',
      {},
      entry('uuid', firmware?.uuid),
      entry('serial', firmware?.serial || undefined),
      entry('manufacturer', manufacturer ?? 'KubeVirt'),
      entry('family', family ?? 'KubeVirt'),
      entry('product', product ?? 'None'),
      entry('sku', sku ?? ''),
      entry('version', version ?? ''),
    ),
    chassisEntries.length > 0 && el('chassis', {}, chassisEntries),
  );
}
