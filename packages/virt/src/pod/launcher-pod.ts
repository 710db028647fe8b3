import type { core, VirtualMachineInstance } from '@slipway/api';
import { labelValue } from '@slipway/apimachinery';
import { LAUNCHER_UID, type LauncherContext, type RenderedPod } from './context.ts';
import { computeContainer, consoleLogContainer, diskContainers, hookContainers, virtiofsContainers } from './containers.ts';
import { networkAnnotations } from './network-annotations.ts';
import { memoryOverheadBytes } from './overhead.ts';
import { affinity, nodeSelector } from './scheduling.ts';
import { type PodVolumes, podVolumes } from './volumes.ts';

const MAX_LABEL = 63;
const DEFAULT_GRACE_SECONDS = 30;
// Half for the launcher to notice, half for Kubernetes to be patient.
const EXTRA_GRACE_SECONDS = 30;

/** Host name of the guest and its pod. */
export function guestHostname(vmi: VirtualMachineInstance): string {
  const name = vmi.spec.hostname || (vmi.metadata.name ?? '').split('.')[0] || '';
  return name.slice(0, MAX_LABEL).replace(/[-.]+$/, '');
}

const DROPPED_ANNOTATIONS = [
  'kubectl.kubernetes.io',
  'kubevirt.io/storage-observed-api-version',
  'kubevirt.io/latest-observed-api-version',
];

function hookCommand(verb: string, vmi: VirtualMachineInstance): string {
  return `["/usr/bin/virt-freezer", "--${verb}", "--name", "${vmi.metadata.name}", "--namespace", "${vmi.metadata.namespace ?? 'default'}"]`;
}

/** An author's wish: backups do not freeze the guest. */
export const SKIP_BACKUP_HOOKS = 'kubevirt.io/skip-backup-hooks';

/** What Velero runs in the pod before and after a backup; nothing when the instance does not want that. */
export function backupHooks(vmi: VirtualMachineInstance): Record<string, string> {
  if (vmi.metadata.annotations?.[SKIP_BACKUP_HOOKS] === 'true') return {};
  return {
    'pre.hook.backup.velero.io/container': 'compute',
    'pre.hook.backup.velero.io/command': hookCommand('freeze', vmi),
    'post.hook.backup.velero.io/container': 'compute',
    'post.hook.backup.velero.io/command': hookCommand('unfreeze', vmi),
  };
}

function annotations(vmi: VirtualMachineInstance, context: LauncherContext): Record<string, string> {
  const own = Object.entries(vmi.metadata.annotations ?? {}).filter(
    ([key]) => !DROPPED_ANNOTATIONS.some((prefix) => key.startsWith(prefix)),
  );
  return {
    ...Object.fromEntries(own),
    'kubevirt.io/domain': vmi.metadata.name ?? '',
    'kubectl.kubernetes.io/default-container': 'compute',
    'kubevirt.io/migrationTransportUnix': 'true',
    ...backupHooks(vmi),
    ...(context.profile.currentMetadata && {
      'descheduler.alpha.kubernetes.io/request-evict-only': '',
      'kubevirt.io/memory-overhead-bytes': String(memoryOverheadBytes(vmi, context)),
    }),
    ...networkAnnotations(vmi, context),
  };
}

function labels(vmi: VirtualMachineInstance, context: LauncherContext): Record<string, string> {
  const inject = vmi.metadata.annotations?.['sidecar.istio.io/inject'];
  return {
    ...vmi.metadata.labels,
    'kubevirt.io': 'virt-launcher',
    'kubevirt.io/created-by': vmi.metadata.uid ?? '',
    'vm.kubevirt.io/name': guestHostname(vmi),
    ...(context.profile.currentMetadata && { 'vmi.kubevirt.io/id': labelValue(vmi.metadata.name ?? '') }),
    ...(inject !== undefined && { 'sidecar.istio.io/inject': inject }),
  };
}

function podSecurity({ config }: LauncherContext): core.PodSecurityContext {
  const profile = config.configuration.seccompConfiguration?.virtualMachineInstanceProfile?.customProfile;
  const seccomp =
    profile?.runtimeDefaultProfile === true
      ? ({ type: 'RuntimeDefault' } as const)
      : profile?.localhostProfile
        ? ({ type: 'Localhost', localhostProfile: profile.localhostProfile } as const)
        : undefined;
  const type = config.configuration.selinuxLauncherType;
  const user = config.hasGate('Root')
    ? { runAsUser: 0 }
    : { runAsUser: LAUNCHER_UID, runAsGroup: LAUNCHER_UID, runAsNonRoot: true, fsGroup: LAUNCHER_UID };
  return { ...user, ...(seccomp && { seccompProfile: seccomp }), ...(type && { seLinuxOptions: { type } }) };
}

function addHelperVolumes(volumes: PodVolumes, hooks: number, shares: number): void {
  if (hooks > 0) {
    volumes.volumes.push({ name: 'hook-sidecar-sockets', emptyDir: {} });
    volumes.mounts.push({ name: 'hook-sidecar-sockets', mountPath: '/var/run/kubevirt-hooks' });
  }
  if (shares > 0) {
    volumes.volumes.push({ name: 'virtiofs-containers', emptyDir: {} });
    volumes.mounts.push({ name: 'virtiofs-containers', mountPath: '/var/run/kubevirt/virtiofs-containers' });
  }
}

function pullSecrets(vmi: VirtualMachineInstance): core.LocalObjectReference[] {
  const kernel = vmi.spec.domain.firmware?.kernelBoot?.container?.imagePullSecret;
  const names = [...(vmi.spec.volumes ?? []).map(({ containerDisk }) => containerDisk?.imagePullSecret), kernel];
  return [...new Set(names)].flatMap((name) => (name ? [{ name }] : []));
}

function serviceAccount(vmi: VirtualMachineInstance): Pick<core.PodSpec, 'serviceAccountName' | 'automountServiceAccountToken'> {
  const fromVolume = (vmi.spec.volumes ?? []).find((volume) => volume.serviceAccount)?.serviceAccount?.serviceAccountName;
  const name = vmi.spec.serviceAccountName ?? fromVolume;
  const injected = vmi.metadata.annotations?.['sidecar.istio.io/inject'] === 'true';
  return {
    ...(name && { serviceAccountName: name }),
    automountServiceAccountToken: fromVolume !== undefined || injected,
  };
}

function passedThrough(vmi: VirtualMachineInstance, context: LauncherContext): Partial<core.PodSpec> {
  const { spec } = vmi;
  const runtimeClassName = context.config.configuration.defaultRuntimeClass;
  const given = {
    subdomain: spec.subdomain,
    dnsPolicy: spec.dnsPolicy,
    dnsConfig: spec.dnsConfig,
    schedulerName: spec.schedulerName,
    priorityClassName: spec.priorityClassName,
    tolerations: spec.tolerations,
    topologySpreadConstraints: spec.topologySpreadConstraints,
    affinity: affinity(vmi, context),
    runtimeClassName,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== ''));
}

/** The launcher pod of a defaulted VMI. Throws Error when the cluster does not permit a device it asks for. */
export function renderLauncherPod(vmi: VirtualMachineInstance, context: LauncherContext): RenderedPod {
  checkPermittedDevices(vmi, context);
  const hooks = hookContainers(vmi, context);
  const shares = virtiofsContainers(vmi, context);
  const disks = diskContainers(vmi, context);
  const volumes = podVolumes(vmi, context);
  addHelperVolumes(volumes, hooks.length, shares.length);
  const log = consoleLogContainer(vmi, context);
  const logInit = log && context.profile.consoleLog === 'init-container';
  const initContainers = [...disks.init, ...(log && logInit ? [log] : [])];
  const secrets = pullSecrets(vmi);
  const grace = vmi.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `virt-launcher-${vmi.metadata.name}-`,
      namespace: vmi.metadata.namespace ?? 'default',
      labels: labels(vmi, context),
      annotations: annotations(vmi, context),
      ownerReferences: [
        {
          apiVersion: 'kubevirt.io/v1',
          kind: 'VirtualMachineInstance',
          name: vmi.metadata.name ?? '',
          uid: vmi.metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      ...(initContainers.length > 0 && { initContainers }),
      containers: [
        computeContainer(vmi, context, volumes, hooks.length),
        ...disks.main,
        ...shares,
        ...hooks,
        ...(log && !logInit ? [log] : []),
      ],
      volumes: volumes.volumes,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: grace + EXTRA_GRACE_SECONDS,
      nodeSelector: nodeSelector(vmi, context),
      ...serviceAccount(vmi),
      securityContext: podSecurity(context),
      ...(secrets.length > 0 && { imagePullSecrets: secrets }),
      hostname: guestHostname(vmi),
      ...passedThrough(vmi, context),
      readinessGates: [{ conditionType: 'kubevirt.io/virtual-machine-unpaused' }],
      enableServiceLinks: false,
    },
  };
}

function checkPermittedDevices(vmi: VirtualMachineInstance, { config }: LauncherContext): void {
  const { pciHostDevices = [], mediatedDevices = [], usb = [] } = config.configuration.permittedHostDevices ?? {};
  const permitted = new Set([...pciHostDevices, ...mediatedDevices, ...usb].map(({ resourceName }) => resourceName));
  const { gpus = [], hostDevices = [] } = vmi.spec.domain.devices;
  const check = (kind: string, deviceName: string | undefined) => {
    if (deviceName !== undefined && deviceName !== '' && !permitted.has(deviceName))
      throw new Error(`${kind} ${deviceName} is not permitted in permittedHostDevices configuration`);
  };
  for (const { deviceName } of gpus) check('GPU', deviceName);
  for (const { deviceName } of hostDevices) check('HostDevice', deviceName);
}
