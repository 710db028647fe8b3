import {
  type core,
  type kubevirt,
  type PersistentVolumeClaim,
  type Pod,
  type Secret,
  type Service,
  VirtualMachineExportKind,
} from '@slipway/api';
import { controllerReference, formatTime, parseDuration, parseTime } from '@slipway/apimachinery';

export type VmExport = kubevirt.VirtualMachineExport;
type Status = NonNullable<VmExport['status']>;
type Condition = kubevirt.Condition;

export const EXPORT_PREFIX = '/api/export.kubevirt.io/';
export const EXPORTER_IMAGE = 'slipway/virt-exporter';
export const TOKEN_KEY = 'token';
export const TOKEN_HEADER = 'x-kubevirt-export-token';
const SERVICE_LABEL = 'kubevirt.io.virt-export-service';
const DEFAULT_TTL_MS = 2 * 60 * 60 * 1000;
/** Names of services and pods are limited to 63 characters. */
const NAME_LIMIT = 63;

export const podName = ({ metadata }: VmExport): string =>
  `virt-export-${metadata.name}`.slice(0, NAME_LIMIT).replace(/[-.]+$/, '');
export const secretName = ({ metadata, spec }: VmExport): string => spec.tokenSecretRef ?? `export-token-${metadata.name}`;

/** When the export goes away by itself. */
export function expiryOf({ metadata, spec }: VmExport): number {
  const ttl = spec.ttlDuration === undefined ? undefined : parseDuration(spec.ttlDuration);
  return (parseTime(metadata.creationTimestamp) ?? 0) + (ttl ?? DEFAULT_TTL_MS);
}

/** What of the source can be exported now. */
export type SourceState =
  | { readonly state: 'ready'; readonly claims: readonly PersistentVolumeClaim[]; readonly vmName?: string }
  /** The volumes are made, bound or freed by somebody else. */
  | { readonly state: 'pending'; readonly ready: Reason; readonly claims: Reason; readonly volumes?: Reason }
  | { readonly state: 'empty'; readonly volumes: Reason };

export interface Reason {
  readonly reason: string;
  readonly message: string;
  readonly isTrue?: boolean;
}

export const says = (reason: string, message: string, isTrue = false): Reason => ({ reason, message, isTrue });

/** The exporter, which holds the disks. */
export function exporterPod(vmExport: VmExport, claims: readonly PersistentVolumeClaim[]): Pod {
  const names = claims.map(({ metadata }) => metadata.name ?? '');
  const volumes = names.map((claimName, index) => ({ name: `volume-${index}`, persistentVolumeClaim: { claimName } }));
  const container: core.Container = {
    name: 'exporter',
    image: EXPORTER_IMAGE,
    volumeMounts: names.map((name, index) => ({ name: `volume-${index}`, mountPath: `/export-volumes/${name}` })),
    resources: { requests: { cpu: '10m', memory: '32Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName(vmExport),
      namespace: vmExport.metadata.namespace ?? '',
      labels: { 'kubevirt.io': 'virt-exporter', [SERVICE_LABEL]: vmExport.metadata.name ?? '' },
      ownerReferences: [controllerReference(vmExport, VirtualMachineExportKind)],
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 5,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [container],
      volumes,
    },
  };
}

export const exportService = (vmExport: VmExport): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: podName(vmExport),
    namespace: vmExport.metadata.namespace ?? '',
    ownerReferences: [controllerReference(vmExport, VirtualMachineExportKind)],
  },
  spec: {
    ports: [{ name: 'http', protocol: 'TCP', port: 443, targetPort: 8443 }],
    selector: { [SERVICE_LABEL]: vmExport.metadata.name ?? '' },
  },
});

export const tokenSecret = (vmExport: VmExport, token: string): Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: {
    name: secretName(vmExport),
    namespace: vmExport.metadata.namespace ?? '',
    ownerReferences: [controllerReference(vmExport, VirtualMachineExportKind)],
  },
  type: 'Opaque',
  stringData: { [TOKEN_KEY]: token },
});

/** Base of every address of an export. */
export const exportPath = ({ metadata }: Pick<VmExport, 'metadata'>): string =>
  `${EXPORT_PREFIX}v1/namespaces/${metadata.namespace}/virtualmachineexports/${metadata.name}`;

const CONTENT_TYPE = 'cdi.kubevirt.io/storage.contentType';

/** A disk of a VM; everything else is offered as a directory. */
export const isDisk = ({ metadata }: PersistentVolumeClaim): boolean =>
  (metadata.annotations?.[CONTENT_TYPE] ?? (isOfDataVolume(metadata) ? 'kubevirt' : '')) === 'kubevirt';

const isOfDataVolume = ({ ownerReferences = [] }: PersistentVolumeClaim['metadata']): boolean =>
  ownerReferences.some(({ kind }) => kind === 'DataVolume' || kind === 'VirtualMachine');

const DISK_FORMATS = { raw: 'disk.img', gzip: 'disk.img.gz' };
const DIRECTORY_FORMATS = { dir: 'dir/', 'tar.gz': 'disk.tar.gz' };

function linkOf(
  vmExport: VmExport,
  server: { readonly url: string; readonly cert: string },
  scope: 'internal' | 'external',
  claims: readonly PersistentVolumeClaim[],
  hasManifests: boolean,
): kubevirt.VirtualMachineExportLink {
  const base = `${server.url}${exportPath(vmExport)}`;
  const volumes = claims.map((claim) => {
    const { name = '' } = claim.metadata;
    const formats = Object.entries(isDisk(claim) ? DISK_FORMATS : DIRECTORY_FORMATS);
    return { name, formats: formats.map(([format, file]) => ({ format, url: `${base}/volumes/${name}/${file}` })) };
  });
  const manifests = [
    { type: 'all', url: `${base}/${scope}/manifests/all` },
    { type: 'auth-header-secret', url: `${base}/${scope}/manifests/secret` },
  ];
  return { cert: server.cert, volumes, ...(hasManifests && { manifests }) };
}

export interface StatusFacts {
  readonly source: SourceState;
  /** The exporter answers. */
  readonly isServed: boolean;
  readonly pod: Pod | undefined;
  /** The address under which the server is reached, and its certificate authority. */
  readonly server: { readonly url: string; readonly cert: string };
  readonly now: string;
}

/** The complete status. Pure. */
export function exportStatus(vmExport: VmExport, { source, isServed, pod, server, now }: StatusFacts): Status {
  const { conditions: before, links: _, ...status } = vmExport.status ?? {};
  const common = {
    ...status,
    tokenSecretRef: secretName(vmExport),
    ttlExpirationTime: formatTime(expiryOf(vmExport)),
    serviceName: podName(vmExport),
  };
  const withConditions = (...updates: Condition[]): Condition[] => merged(before, updates, now);
  switch (source.state) {
    case 'empty':
      return {
        ...common,
        phase: 'Skipped',
        conditions: withConditions(conditionOf('Ready', says('Unknown', '')), conditionOf('VolumesCreated', source.volumes)),
      };
    case 'pending':
      return {
        ...common,
        phase: 'Pending',
        conditions: withConditions(
          conditionOf('Ready', source.ready),
          conditionOf('PVCReady', source.claims),
          ...(source.volumes ? [conditionOf('VolumesCreated', source.volumes)] : []),
        ),
      };
    default: {
      const hasManifests = vmExport.spec.source.kind !== 'PersistentVolumeClaim';
      const link = (scope: 'internal' | 'external') => linkOf(vmExport, server, scope, source.claims, hasManifests);
      return {
        ...common,
        phase: isServed ? 'Ready' : 'Pending',
        ...(source.vmName !== undefined && { virtualMachineName: source.vmName }),
        ...(isServed && { links: { external: link('external'), internal: link('internal') } }),
        conditions: withConditions(
          conditionOf('Ready', readiness(isServed, pod)),
          conditionOf('PVCReady', says('PVCBound', '', true)),
          ...(hasManifests ? [conditionOf('VolumesCreated', says('AllPVCsCreated', '', true))] : []),
        ),
      };
    }
  }
}

function readiness(isServed: boolean, pod: Pod | undefined): Reason {
  if (isServed) return says('PodReady', '', true);
  const waiting = pod?.status?.containerStatuses?.[0]?.state?.waiting;
  return pod === undefined ? says('Initializing', '') : says('PodPending', waiting?.message ?? '');
}

const conditionOf = (type: string, { reason, message, isTrue = false }: Reason): Condition => ({
  type,
  status: isTrue ? 'True' : 'False',
  reason,
  message,
});

function merged(before: readonly Condition[] | undefined, updates: readonly Condition[], now: string): Condition[] {
  const known = new Map((before ?? []).map((item) => [item.type, item]));
  for (const update of updates) {
    const old = known.get(update.type);
    known.set(update.type, {
      ...update,
      lastTransitionTime: old?.status === update.status ? (old.lastTransitionTime ?? now) : now,
    });
  }
  return [...known.values()];
}
