import type { VirtualMachineInstance } from '@slipway/api';
import { el, type XmlElement } from '../xml.ts';
import type { DomainFacts, PlanNote } from './facts.ts';
import { usesHostUsb } from './host-devices.ts';
import type { IoThreadPlan } from './io-threads.ts';
import { diskTarget, isAmd64, isArm64, isS390x, needsIommu, virtioModel } from './shape.ts';

interface DeviceContext {
  readonly vmi: VirtualMachineInstance;
  readonly facts: DomainFacts;
  readonly ioThreads: IoThreadPlan;
  readonly vcpus: number;
  readonly isEfi: boolean;
  readonly notes: PlanNote[];
}

type Elements = readonly (XmlElement | undefined | false)[];

const REDIRECTED_USB_DEVICES = 4;

const iommuDriver = (vmi: VirtualMachineInstance): XmlElement | undefined =>
  needsIommu(vmi.spec.domain) ? el('driver', { iommu: 'on' }) : undefined;

const hasGraphics = (vmi: VirtualMachineInstance): boolean => vmi.spec.domain.devices.autoattachGraphicsDevice !== false;
const hasSerial = (vmi: VirtualMachineInstance): boolean => vmi.spec.domain.devices.autoattachSerialConsole !== false;

function needsUsb({ vmi, facts }: DeviceContext): boolean {
  const { devices } = vmi.spec.domain;
  if (isS390x(vmi.spec.architecture)) return false;
  if (isArm64(vmi.spec.architecture)) return true;
  return (
    (devices.inputs ?? []).some(({ bus }) => bus === undefined || bus === '' || bus === 'usb') ||
    (devices.disks ?? []).some((disk) => diskTarget(disk).bus === 'usb') ||
    devices.clientPassthrough !== undefined ||
    usesHostUsb(vmi, facts)
  );
}

function scsiController({ vmi, ioThreads, vcpus }: DeviceContext): XmlElement | undefined {
  const { devices } = vmi.spec.domain;
  const hasScsi = (devices.disks ?? []).some((disk) => diskTarget(disk).bus === 'scsi');
  if (devices.disableHotplug && !hasScsi) return undefined;
  const model = isS390x(vmi.spec.architecture) ? 'virtio-scsi' : virtioModel(vmi);
  const iommu = needsIommu(vmi.spec.domain) ? 'on' : undefined;
  const driver =
    ioThreads.assigned && ioThreads.poolSize === 0
      ? el('driver', { iothread: 1, queues: vcpus, iommu })
      : iommu && el('driver', { iommu });
  return el('controller', { type: 'scsi', index: 0, model }, driver);
}

/** USB, SCSI and virtio-serial controllers. */
export function controllerElements(context: DeviceContext): Elements {
  const { vmi } = context;
  const hole =
    isAmd64(vmi.spec.architecture) && vmi.metadata.annotations?.['kubevirt.io/disablePCIHole64'] === 'true'
      ? el('controller', { type: 'pci', index: 0, model: 'pcie-root' }, el('pcihole64', { unit: 'KiB' }, '0'))
      : undefined;
  return [
    el('controller', { type: 'usb', index: 0, model: needsUsb(context) ? 'qemu-xhci' : 'none' }),
    scsiController(context),
    hasSerial(vmi) && el('controller', { type: 'virtio-serial', index: 0, model: virtioModel(vmi) }, iommuDriver(vmi)),
    context.facts.spareRootPorts === undefined ? hole : undefined,
  ];
}

/** Guest agent and downward metrics channels. */
export function channelElements({ vmi, facts }: DeviceContext): Elements {
  const { guestAgent, downwardMetrics } = facts.sockets;
  const source = (path: string | undefined) => path !== undefined && el('source', { mode: 'bind', path });
  return [
    el('channel', { type: 'unix' }, source(guestAgent), el('target', { type: 'virtio', name: 'org.qemu.guest_agent.0' })),
    vmi.spec.domain.devices.downwardMetrics !== undefined &&
      el('channel', { type: 'unix' }, source(downwardMetrics), el('target', { type: 'virtio', name: 'org.github.vhostmd.1' })),
  ];
}

function videoModel({ vmi, facts, isEfi }: DeviceContext): string {
  const explicit = vmi.spec.domain.devices.video?.type;
  if (explicit) return explicit;
  if (!isAmd64(vmi.spec.architecture)) return 'virtio';
  const keepVga = vmi.metadata.annotations?.['kubevirt.io/vga-display-efi-x86'] !== undefined;
  return isEfi && !keepVga && facts.videoModels?.includes('bochs') ? 'bochs' : 'vga';
}

function videoElement(context: DeviceContext): XmlElement {
  const model = videoModel(context);
  const classic = model !== 'virtio' && model !== 'ramfb';
  return el(
    'video',
    {},
    el('model', { type: model, heads: model === 'ramfb' ? undefined : 1, vram: classic ? 16_384 : undefined }),
  );
}

/** Serial console and display. */
export function consoleElements(context: DeviceContext): Elements {
  const { vmi, facts } = context;
  const { sockets, logs } = facts;
  const elements: (XmlElement | undefined)[] = [];
  if (hasGraphics(vmi))
    elements.push(videoElement(context), el('graphics', { type: 'vnc' }, el('listen', { type: 'socket', socket: sockets.vnc })));
  if (!hasSerial(vmi)) return elements;
  const log = logs.serialConsole;
  elements.push(
    el(
      'serial',
      { type: 'unix' },
      el('source', { mode: 'bind', path: sockets.serialConsole }),
      el('target', { port: 0 }),
      log !== undefined && el('log', { file: log, append: 'on' }),
    ),
    el('console', { type: 'pty' }, el('target', { type: 'serial', port: 0 })),
  );
  return elements;
}

/** Tablets and what an architecture needs to be usable at a screen. */
export function inputElements({ vmi }: DeviceContext): Elements {
  const inputs = (vmi.spec.domain.devices.inputs ?? []).map(({ name, type, bus }) => {
    const model = bus === 'virtio' ? 'virtio' : undefined;
    return el('input', { type, bus: bus || 'usb', model }, el('alias', { name: `ua-${name}` }));
  });
  if (!hasGraphics(vmi)) return inputs;
  if (isS390x(vmi.spec.architecture)) return [...inputs, el('input', { type: 'keyboard', bus: 'virtio' })];
  if (!isArm64(vmi.spec.architecture)) return inputs;
  const hasTablet = (vmi.spec.domain.devices.inputs ?? []).some(({ type }) => type === 'tablet');
  return [...inputs, !hasTablet && el('input', { type: 'tablet', bus: 'usb' }), el('input', { type: 'keyboard', bus: 'usb' })];
}

function balloonElement({ vmi, facts }: DeviceContext): XmlElement {
  const { cpu, devices, memory } = vmi.spec.domain;
  if (devices.autoattachMemBalloon === false) return el('memballoon', { model: 'none' });
  const { memBalloonStatsPeriod, virtualMachineOptions } = facts.config.configuration;
  const reporting =
    virtualMachineOptions?.disableFreePageReporting === undefined &&
    memory?.hugepages === undefined &&
    !cpu?.dedicatedCpuPlacement &&
    cpu?.realtime === undefined &&
    vmi.metadata.annotations?.['kubevirt.io/free-page-reporting-disabled'] !== 'true';
  const period = memBalloonStatsPeriod ?? 10;
  return el(
    'memballoon',
    { model: virtioModel(vmi), freePageReporting: reporting ? 'on' : 'off' },
    period > 0 && el('stats', { period }),
    iommuDriver(vmi),
  );
}

function watchdogElement({ vmi }: DeviceContext): XmlElement | undefined {
  const { watchdog } = vmi.spec.domain.devices;
  if (!watchdog) return undefined;
  const [model, action] = watchdog.diag288 ? ['diag288', watchdog.diag288.action] : ['i6300esb', watchdog.i6300esb?.action];
  return el('watchdog', { model, action: action || 'reset' }, el('alias', { name: `ua-${watchdog.name}` }));
}

function tpmElement({ vmi }: DeviceContext): XmlElement | undefined {
  const { tpm } = vmi.spec.domain.devices;
  if (!tpm || tpm.enabled === false) return undefined;
  const persistent = tpm.persistent === true;
  return el(
    'tpm',
    { model: persistent ? 'tpm-crb' : 'tpm-tis' },
    el('backend', { type: 'emulator', version: '2.0', persistent_state: persistent ? 'yes' : undefined }),
  );
}

function redirectionElements({ vmi, facts }: DeviceContext): Elements {
  if (vmi.spec.domain.devices.clientPassthrough === undefined) return [];
  const prefix = facts.sockets.usbRedirPrefix;
  if (prefix === undefined) return [];
  return Array.from({ length: REDIRECTED_USB_DEVICES }, (_, index) =>
    el('redirdev', { type: 'unix', bus: 'usb' }, el('source', { mode: 'bind', path: `${prefix}${index}` })),
  );
}

function filesystemElements({ vmi, facts }: DeviceContext): Elements {
  return (vmi.spec.domain.devices.filesystems ?? []).map(({ name }) =>
    el(
      'filesystem',
      { type: 'mount', accessMode: 'passthrough' },
      el('driver', { type: 'virtiofs', queue: 1024 }),
      // KubeVirt-compat: the directory is virtiofsd's business; libvirt accepts the empty one.
      el('source', { dir: '', socket: `${facts.sockets.virtiofsDir ?? '/var/run/kubevirt/virtiofs-containers'}/${name}.sock` }),
      el('target', { dir: name }),
    ),
  );
}

function panicElements({ vmi, facts, notes }: DeviceContext): Elements {
  return (vmi.spec.domain.devices.panicDevices ?? []).map(({ model }) => {
    if (model !== 'pvpanic' || facts.panicModels === undefined || facts.panicModels.includes(model))
      return el('panic', { model });
    // the same device on another bus: guests find it by ACPI instead of PCI
    notes.push({
      reason: 'DeviceReplaced',
      message: "Panic device pvpanic is not known to this host's libvirt; the guest has the one of model isa",
    });
    return el('panic', { model: 'isa' });
  });
}

/** Everything else: balloon, random numbers, watchdog, sound, TPM, panic, USB redirection, shared directories, vsock. */
export function otherElements(context: DeviceContext): Elements {
  const { vmi } = context;
  const { devices } = vmi.spec.domain;
  const cid = vmi.status?.VSOCKCID;
  return [
    balloonElement(context),
    devices.rng !== undefined &&
      el('rng', { model: virtioModel(vmi) }, iommuDriver(vmi), el('backend', { model: 'random' }, '/dev/urandom')),
    watchdogElement(context),
    devices.sound && el('sound', { model: devices.sound.model || 'ich9' }, el('alias', { name: `ua-${devices.sound.name}` })),
    tpmElement(context),
    ...panicElements(context),
    ...redirectionElements(context),
    ...filesystemElements(context),
    devices.autoattachVSOCK === true &&
      cid !== undefined &&
      el('vsock', { model: virtioModel(vmi) }, el('cid', { auto: 'no', address: cid })),
  ];
}

/** `<launchSecurity>`. */
export function launchSecurityElement(vmi: VirtualMachineInstance): XmlElement | undefined {
  const { sev, snp, tdx } = vmi.spec.domain.launchSecurity ?? {};
  if (sev) {
    // Bit 0 forbids debugging, bit 2 asks for an encrypted register state (SEV-ES).
    const policy = sev.policy?.encryptedState ? 0x5 : 0x1;
    return el(
      'launchSecurity',
      { type: 'sev' },
      el('policy', {}, `0x${policy.toString(16)}`),
      sev.dhCert !== undefined && el('dhCert', {}, sev.dhCert),
      sev.session !== undefined && el('session', {}, sev.session),
    );
  }
  if (snp) return el('launchSecurity', { type: 'sev-snp' }, el('policy', {}, '0x00030000'));
  return tdx && el('launchSecurity', { type: 'tdx' });
}
