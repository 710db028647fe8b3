import type { core, kubevirt, VirtualMachineInstance } from '@slipway/api';
import { type Container, LAUNCHER_UID, type LauncherContext, PRIVATE_DIR } from './context.ts';
import { wantsGuaranteedQos } from './overhead.ts';
import { computeResources, helperResources } from './resources.ts';
import type { PodVolumes } from './volumes.ts';

type SecurityContext = core.SecurityContext;

const isRoot = ({ config }: LauncherContext): boolean => config.hasGate('Root');

function helperSecurity(context: LauncherContext, withGroup = false): SecurityContext {
  if (isRoot(context)) return { runAsUser: 0, ...(withGroup && { privileged: false }) };
  return {
    runAsUser: LAUNCHER_UID,
    ...(withGroup && { runAsGroup: LAUNCHER_UID, privileged: false }),
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  };
}

function computeSecurity(context: LauncherContext): SecurityContext {
  if (isRoot(context))
    return { privileged: false, runAsUser: 0, runAsNonRoot: false, capabilities: { add: ['NET_BIND_SERVICE', 'SYS_NICE'] } };
  return {
    privileged: false,
    runAsUser: LAUNCHER_UID,
    runAsGroup: LAUNCHER_UID,
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] },
  };
}

const START_DELAY_SECONDS = 10;

function probe(vmi: VirtualMachineInstance, spec: kubevirt.Probe | undefined): core.Probe | undefined {
  if (!spec) return undefined;
  const { guestAgentPing, exec, initialDelaySeconds = 0, ...rest } = spec;
  const base = { ...rest, initialDelaySeconds: initialDelaySeconds + START_DELAY_SECONDS };
  const domainName = `${vmi.metadata.namespace ?? 'default'}_${vmi.metadata.name}`;
  const command = ['virt-probe', '--domainName', domainName, '--timeoutSeconds', String(spec.timeoutSeconds ?? 1)];
  if (guestAgentPing) return { ...base, exec: { command: [...command, '--guestAgentPing'] } } as core.Probe; // int-or-string ports
  if (!exec) return base as core.Probe; // as above
  const [program = '', ...args] = exec.command ?? [];
  const timeoutSeconds = (spec.timeoutSeconds ?? 1) + 1;
  return { ...base, timeoutSeconds, exec: { command: [...command, '--command', program, '--', ...args] } } as core.Probe; // as above
}

function ports(vmi: VirtualMachineInstance): core.ContainerPort[] {
  return (vmi.spec.domain.devices.interfaces ?? []).flatMap(({ ports: list = [] }) =>
    list.map(({ name, port, protocol }) => ({ ...(name && { name }), containerPort: port, protocol: protocol || 'TCP' })),
  ) as core.ContainerPort[]; // admission has checked the protocol
}

function computeEnv(context: LauncherContext): core.EnvVar[] {
  return [
    { name: 'XDG_CACHE_HOME', value: PRIVATE_DIR },
    { name: 'XDG_CONFIG_HOME', value: PRIVATE_DIR },
    { name: 'XDG_RUNTIME_DIR', value: '/var/run' },
    { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ...context.networkResources.map(({ network, resourceName }) => ({
      name: `KUBEVIRT_RESOURCE_NAME_${network}`,
      value: resourceName,
    })),
  ];
}

/** The container that stands for libvirtd and QEMU. */
export function computeContainer(
  vmi: VirtualMachineInstance,
  context: LauncherContext,
  volumes: PodVolumes,
  sidecars: number,
): Container {
  const { uid = '', name = '', namespace = 'default' } = vmi.metadata;
  const livenessProbe = probe(vmi, vmi.spec.livenessProbe);
  const readinessProbe = probe(vmi, vmi.spec.readinessProbe);
  const containerPorts = ports(vmi);
  return {
    name: 'compute',
    image: context.profile.image,
    command: [
      '/usr/bin/virt-launcher-monitor',
      '--name',
      name,
      '--uid',
      uid,
      '--namespace',
      namespace,
      '--hook-sidecars',
      String(sidecars),
    ],
    env: computeEnv(context),
    ...(containerPorts.length > 0 && { ports: containerPorts }),
    resources: computeResources(vmi, context),
    volumeMounts: volumes.mounts,
    ...(volumes.devices.length > 0 && { volumeDevices: volumes.devices }),
    ...(livenessProbe && { livenessProbe }),
    ...(readinessProbe && { readinessProbe }),
    imagePullPolicy: context.config.configuration.imagePullPolicy ?? 'IfNotPresent',
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: computeSecurity(context),
  };
}

interface ServedImage {
  readonly name: string;
  readonly image: string;
  readonly pullPolicy: kubevirt.ContainerDiskSource['imagePullPolicy'];
}

/** Images whose files the guest uses: container disks, then the kernel. */
export function servedImages(vmi: VirtualMachineInstance): readonly ServedImage[] {
  const disks = (vmi.spec.volumes ?? []).flatMap(({ name, containerDisk }) =>
    containerDisk ? [{ name, image: containerDisk.image, pullPolicy: containerDisk.imagePullPolicy }] : [],
  );
  const kernel = vmi.spec.domain.firmware?.kernelBoot?.container;
  return kernel ? [...disks, { name: 'kernel-boot-volume', image: kernel.image, pullPolicy: kernel.imagePullPolicy }] : disks;
}

function diskContainer(vmi: VirtualMachineInstance, context: LauncherContext, served: ServedImage, init: boolean): Container {
  return {
    name: `volume${served.name}${init ? '-init' : ''}`,
    image: served.image,
    command: ['/usr/bin/container-disk'],
    args: init
      ? ['--no-op']
      : ['--copy-path', `/var/run/kubevirt-ephemeral-disks/container-disk-data/${vmi.metadata.uid}/${served.name}`],
    resources: helperResources('container-disk', wantsGuaranteedQos(vmi), context),
    volumeMounts: [
      { name: 'container-disks', mountPath: `/var/run/kubevirt-ephemeral-disks/container-disk-data/${vmi.metadata.uid}` },
      { name: 'virt-bin-share-dir', mountPath: '/usr/bin' },
    ],
    ...(served.pullPolicy && { imagePullPolicy: served.pullPolicy }),
    securityContext: helperSecurity(context),
  };
}

/** Containers that serve container disks, with the init containers that fetch them first. */
export function diskContainers(
  vmi: VirtualMachineInstance,
  context: LauncherContext,
): { readonly init: Container[]; readonly main: Container[] } {
  const images = servedImages(vmi);
  const { profile } = context;
  if (images.length === 0 || profile.imageVolumes || !profile.helperContainers) return { init: [], main: [] };
  const binary: Container = {
    name: 'container-disk-binary',
    image: profile.image,
    command: ['/usr/bin/cp', '/usr/bin/container-disk', '/init/usr/bin/container-disk'],
    resources: helperResources('container-disk-init', wantsGuaranteedQos(vmi), context),
    volumeMounts: [{ name: 'virt-bin-share-dir', mountPath: '/init/usr/bin' }],
    securityContext: helperSecurity(context, true),
  };
  return {
    init: [binary, ...images.map((image) => diskContainer(vmi, context, image, true))],
    main: images.map((image) => diskContainer(vmi, context, image, false)),
  };
}

/** Copies what the guest prints on its serial console to the pod's log; absent where the node agent does it. */
export function consoleLogContainer(vmi: VirtualMachineInstance, context: LauncherContext): Container | undefined {
  const { devices } = vmi.spec.domain;
  const { profile, config } = context;
  const off =
    devices.logSerialConsole === false ||
    devices.autoattachSerialConsole === false ||
    (devices.logSerialConsole === undefined && config.configuration.virtualMachineOptions?.disableSerialConsoleLog !== undefined);
  if (off || profile.consoleLog === 'node-agent') return undefined;
  return {
    name: 'guest-console-log',
    image: profile.image,
    command: ['/usr/bin/virt-tail'],
    args: ['--logfile', `${PRIVATE_DIR}/${vmi.metadata.uid}/virt-serial0-log`],
    resources: helperResources('guest-console-log', wantsGuaranteedQos(vmi), context),
    volumeMounts: [{ name: 'private', mountPath: PRIVATE_DIR, readOnly: true }],
    imagePullPolicy: config.configuration.imagePullPolicy ?? 'IfNotPresent',
    ...(profile.consoleLog === 'init-container' && { restartPolicy: 'Always' as const }),
    securityContext: {
      runAsUser: LAUNCHER_UID,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    },
  };
}

/** One virtiofsd per shared volume. */
export function virtiofsContainers(vmi: VirtualMachineInstance, context: LauncherContext): Container[] {
  if (!context.profile.helperContainers) return [];
  return (vmi.spec.domain.devices.filesystems ?? []).flatMap(({ name }): Container[] => {
    const volume = (vmi.spec.volumes ?? []).find((candidate) => candidate.name === name);
    if (!volume || volume.containerPath) return [];
    const isConfig = volume.configMap ?? volume.secret ?? volume.downwardAPI ?? volume.serviceAccount;
    const directory = volume.configMap ? 'config-map' : volume.secret ? 'secret' : 'downwardapi';
    const mountPath = isConfig ? `${PRIVATE_DIR}/${directory}/${name}` : `/${name}`;
    return [
      {
        name: `virtiofs-${name}`,
        image: context.profile.image,
        command: ['/usr/libexec/virtiofsd'],
        args: [
          `--socket-path=/var/run/kubevirt/virtiofs-containers/${name}.sock`,
          `--shared-dir=${mountPath}`,
          '--sandbox=none',
          '--cache=auto',
        ],
        resources: helperResources('virtiofs', wantsGuaranteedQos(vmi), context),
        volumeMounts: [
          { name: 'virtiofs-containers', mountPath: '/var/run/kubevirt/virtiofs-containers' },
          { name, mountPath },
        ],
        securityContext: isConfig
          ? { ...helperSecurity(context), ...(!isRoot(context) && { runAsGroup: LAUNCHER_UID }) }
          : helperSecurity(context),
      },
    ];
  });
}

interface HookSidecar {
  readonly image?: string;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  readonly command?: string[];
  readonly args?: string[];
}

function requestedSidecars(vmi: VirtualMachineInstance, { config }: LauncherContext): readonly HookSidecar[] {
  const text = vmi.metadata.annotations?.['hooks.kubevirt.io/hookSidecars'];
  const requested: readonly HookSidecar[] = text !== undefined && config.hasGate('Sidecar') ? JSON.parse(text) : [];
  const plugins = (vmi.spec.domain.devices.interfaces ?? []).flatMap(({ binding }): HookSidecar[] => {
    const image = binding && config.configuration.network?.binding?.[binding.name]?.sidecarImage;
    return image ? [{ image }] : [];
  });
  return [...requested, ...plugins];
}

/** Containers that may change the domain before it starts. */
export function hookContainers(vmi: VirtualMachineInstance, context: LauncherContext): Container[] {
  if (!context.profile.helperContainers) return [];
  return requestedSidecars(vmi, context).map(({ image, imagePullPolicy, command, args }, index) => ({
    name: `hook-sidecar-${index}`,
    image: image ?? '',
    ...(imagePullPolicy && { imagePullPolicy }),
    ...(command && { command }),
    ...(args && { args }),
    resources: helperResources('sidecar', wantsGuaranteedQos(vmi), context),
    volumeMounts: [{ name: 'hook-sidecar-sockets', mountPath: '/var/run/kubevirt-hooks' }],
    securityContext: helperSecurity(context, true),
  }));
}
