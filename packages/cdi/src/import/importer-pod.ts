import { createHash } from 'node:crypto';
import { type core, type PersistentVolumeClaim, PersistentVolumeClaimKind, type Pod } from '@slipway/api';
import { controllerReference, quantityValue, tryParseQuantity } from '@slipway/apimachinery';
import { Annotation, IMPORTER_IMAGE, LABELS } from '../constants.ts';

const MAX_NAME = 253;

/** `importer-<claim>`, with the checkpoint where the import has stages, cut for names that are too long. */
export function importerName({ metadata }: PersistentVolumeClaim): string {
  const checkpoint = metadata.annotations?.[Annotation.checkpointCurrent];
  const suffix = checkpoint === undefined ? '' : `-checkpoint-${checkpoint.toLowerCase().replaceAll(/[^a-z0-9-]/g, '-')}`;
  const whole = `importer-${metadata.name ?? ''}${suffix}`;
  // what is cut off may be all that tells two stages apart
  const short = suffix === '' ? '' : `-${createHash('sha256').update(whole).digest('hex').slice(0, 8)}`;
  return whole.length > MAX_NAME ? trimmed(whole.slice(0, MAX_NAME - short.length)) + short : trimmed(whole);
}

const trimmed = (name: string): string => name.replace(/[-.]+$/, '');

const variable = (name: string, value: string | undefined): core.EnvVar[] => (value === undefined ? [] : [{ name, value }]);

const fromSecret = (name: string, secret: string, key: string, isOptional = false): core.EnvVar => ({
  name,
  valueFrom: { secretKeyRef: { name: secret, key, ...(isOptional && { optional: true }) } },
});

/** The worker that fills a claim as its annotations ask, with CDI's contract of environment variables. */
export function importerPod(claim: PersistentVolumeClaim): Pod {
  const { name = '', namespace = '', annotations = {}, labels = {} } = claim.metadata;
  const pod = sourcePod(annotations);
  const [container] = pod.spec.containers;
  return {
    ...pod,
    metadata: {
      name: importerName(claim),
      namespace,
      labels: { ...labels, ...LABELS, 'cdi.kubevirt.io': 'importer', 'prometheus.cdi.kubevirt.io': 'true' },
      annotations: { 'cdi.kubevirt.io/storage.createdByController': 'yes' },
      ownerReferences: [controllerReference(claim, PersistentVolumeClaimKind)],
    },
    spec: {
      ...pod.spec,
      containers: [
        {
          ...container,
          env: [...container.env, ...targetEnvironment(claim)],
          volumeMounts: [{ name: 'cdi-data-vol', mountPath: '/data' }, ...container.volumeMounts],
        },
      ],
      volumes: [{ name: 'cdi-data-vol', persistentVolumeClaim: { claimName: name } }, ...pod.spec.volumes],
    },
  };
}

/** The worker's part that speaks to the source, as the annotations of a claim describe it. */
export function sourcePod(annotations: Readonly<Record<string, string>>) {
  const mounts = mountsOf(annotations);
  const container = {
    name: 'importer',
    image: IMPORTER_IMAGE,
    args: ['-v=1'],
    terminationMessagePolicy: 'FallbackToLogsOnError' as const,
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    env: [...sourceEnvironment(annotations), ...mounts.map(({ env }) => env)],
    resources: { requests: { cpu: '100m', memory: '60M' }, limits: { cpu: '750m', memory: '600M' } },
    volumeMounts: mounts.map(({ mount }) => mount),
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    spec: {
      restartPolicy: 'OnFailure' as const,
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      ...(annotations[Annotation.priorityClass] && { priorityClassName: annotations[Annotation.priorityClass] }),
      ...(annotations[Annotation.serviceAccount] && { serviceAccountName: annotations[Annotation.serviceAccount] }),
      securityContext: { runAsNonRoot: true, runAsUser: 107, fsGroup: 107, seccompProfile: { type: 'RuntimeDefault' as const } },
      containers: [container] as const,
      volumes: mounts.map(({ volume }) => volume),
    },
  };
}

interface Mounted {
  readonly mount: core.VolumeMount;
  readonly volume: core.Volume;
  readonly env: core.EnvVar;
}

function mountsOf(annotations: Readonly<Record<string, string>>): Mounted[] {
  const mounted: Mounted[] = [];
  const certConfigMap = annotations[Annotation.importCertConfigMap];
  if (certConfigMap)
    mounted.push({
      mount: { name: 'cdi-cert-vol', mountPath: '/certs' },
      volume: { name: 'cdi-cert-vol', configMap: { name: certConfigMap } },
      env: { name: 'IMPORTER_CERT_DIR', value: '/certs' },
    });
  const keyFile = keyFileOf(annotations);
  if (keyFile !== undefined)
    mounted.push({
      mount: { name: 'cdi-secret-vol', mountPath: KEY_DIRECTORY },
      volume: { name: 'cdi-secret-vol', secret: { secretName: keyFile } },
      env: { name: 'GOOGLE_APPLICATION_CREDENTIALS', value: `${KEY_DIRECTORY}/credentials.json` },
    });
  for (const [index, secretName] of numbered(annotations, Annotation.importSecretExtraHeader).entries()) {
    const name = `cdi-secret-extra-headers-${index}`;
    const mountPath = `/extraheaders/${index}`;
    mounted.push({
      mount: { name, mountPath },
      volume: { name, secret: { secretName } },
      env: { name: `IMPORTER_SECRET_EXTRA_HEADERS_DIR_${index}`, value: mountPath },
    });
  }
  return mounted;
}

const KEY_DIRECTORY = '/google';

/** Google's credentials are a file, everybody else's are a name and a password. */
const keyFileOf = (annotations: Readonly<Record<string, string>>): string | undefined =>
  annotations[Annotation.importSource] === 'gcs' ? annotations[Annotation.importSecret] || undefined : undefined;

const numbered = (annotations: Readonly<Record<string, string>>, prefix: string): string[] =>
  Object.entries(annotations).flatMap(([key, value]) => (key.startsWith(prefix) ? [value] : []));

/** Name and password; for a registry also an image pull secret, of which kind the Secret is its keys tell. */
function secretEnvironment(secret: string, source: string | undefined): core.EnvVar[] {
  const isRegistry = source === 'registry';
  return [
    fromSecret('IMPORTER_ACCESS_KEY_ID', secret, 'accessKeyId', isRegistry),
    fromSecret('IMPORTER_SECRET_KEY', secret, 'secretKey', isRegistry),
    ...(isRegistry ? [fromSecret('IMPORTER_REGISTRY_CONFIG', secret, '.dockerconfigjson', true)] : []),
  ];
}

function targetEnvironment({ metadata, spec }: PersistentVolumeClaim): core.EnvVar[] {
  const size = tryParseQuantity(spec?.resources?.requests?.['storage']);
  return [
    ...variable('IMPORTER_IMAGE_SIZE', size === undefined ? undefined : String(quantityValue(size))),
    ...variable('OWNER_UID', metadata.ownerReferences?.[0]?.uid ?? metadata.uid),
  ];
}

function sourceEnvironment(annotations: Readonly<Record<string, string>>): core.EnvVar[] {
  const secret = keyFileOf(annotations) === undefined ? annotations[Annotation.importSecret] : undefined;
  return [
    ...variable('IMPORTER_SOURCE', annotations[Annotation.importSource] ?? 'http'),
    ...variable('IMPORTER_ENDPOINT', annotations[Annotation.importEndpoint]),
    ...variable('IMPORTER_CONTENTTYPE', annotations[Annotation.contentType] ?? 'kubevirt'),
    ...variable('INSECURE_TLS', annotations[Annotation.importInsecure] ?? 'false'),
    ...variable('IMPORTER_CHECKSUM', annotations[Annotation.importChecksum]),
    ...variable('IMPORTER_REGISTRY_IMAGE_ARCHITECTURE', annotations[Annotation.importArchitecture]),
    ...variable('IMPORTER_PULL_METHOD', annotations[Annotation.importPullMethod]),
    ...variable('IMPORTER_REGISTRY_IMAGE_STREAM', annotations[Annotation.importImageStream]),
    ...variable('IMPORTER_DISK_ID', annotations[Annotation.importDiskId]),
    ...variable('IMPORTER_UUID', annotations[Annotation.importUuid]),
    ...variable('IMPORTER_BACKING_FILE', annotations[Annotation.importBackingFile]),
    ...variable('IMPORTER_THUMBPRINT', annotations[Annotation.importThumbprint]),
    ...variable('IMPORTER_PREVIOUS_CHECKPOINT', annotations[Annotation.checkpointPrevious]),
    ...variable('IMPORTER_CURRENT_CHECKPOINT', annotations[Annotation.checkpointCurrent]),
    ...variable('IMPORTER_FINAL_CHECKPOINT', annotations[Annotation.checkpointFinal]),
    ...variable('PREALLOCATION', annotations[Annotation.preallocation]),
    ...(secret === undefined ? [] : secretEnvironment(secret, annotations[Annotation.importSource])),
    ...numbered(annotations, Annotation.importExtraHeader).flatMap((line, index) =>
      variable(`IMPORTER_EXTRA_HEADER_${index}`, line),
    ),
  ];
}
