import { type PersistentVolumeClaim, PersistentVolumeClaimKind, type Pod } from '@slipway/api';
import { controllerReference, quantityValue, tryParseQuantity } from '@slipway/apimachinery';
import { Annotation, LABELS } from '../constants.ts';

export const UPLOAD_IMAGE = 'slipway/cdi-uploadserver';
/** On the claim: name of its upload server. */
export const UPLOAD_POD_ANNOTATION = 'cdi.kubevirt.io/storage.uploadPodName';
const MAX_NAME = 253;

/** `cdi-upload-<claim>`, cut for names that are too long. */
export const uploadPodName = (claimName: string): string => `cdi-upload-${claimName}`.slice(0, MAX_NAME).replace(/[-.]+$/, '');

/** The server that takes one upload into a claim. What it is sent comes through the node agent, so it has no port. */
export function uploadPod(claim: PersistentVolumeClaim): Pod {
  const { name = '', namespace = '', annotations = {}, labels = {}, uid = '' } = claim.metadata;
  const size = tryParseQuantity(claim.spec?.resources?.requests?.['storage']);
  const preallocation = annotations[Annotation.preallocation];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: uploadPodName(name),
      namespace,
      labels: {
        ...labels,
        ...LABELS,
        'cdi.kubevirt.io': 'cdi-upload-server',
        'cdi.kubevirt.io/uploadTarget': uid,
        'prometheus.cdi.kubevirt.io': 'true',
      },
      annotations: { 'cdi.kubevirt.io/storage.createdByUploadController': 'yes' },
      ownerReferences: [controllerReference(claim, PersistentVolumeClaimKind)],
    },
    spec: {
      restartPolicy: 'OnFailure',
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      ...(annotations[Annotation.priorityClass] && { priorityClassName: annotations[Annotation.priorityClass] }),
      ...(annotations[Annotation.serviceAccount] && { serviceAccountName: annotations[Annotation.serviceAccount] }),
      securityContext: { runAsNonRoot: true, runAsUser: 107, fsGroup: 107, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'cdi-upload-server',
          image: UPLOAD_IMAGE,
          args: ['-v=1'],
          terminationMessagePolicy: 'FallbackToLogsOnError',
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          env: [
            { name: 'IMPORTER_SOURCE', value: 'none' },
            { name: 'IMPORTER_CONTENTTYPE', value: annotations[Annotation.contentType] || 'kubevirt' },
            ...(size === undefined ? [] : [{ name: 'UPLOAD_IMAGE_SIZE', value: String(quantityValue(size)) }]),
            ...(preallocation === undefined ? [] : [{ name: 'PREALLOCATION', value: preallocation }]),
          ],
          resources: { requests: { cpu: '100m', memory: '60M' }, limits: { cpu: '750m', memory: '600M' } },
          volumeMounts: [{ name: 'cdi-data-vol', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'cdi-data-vol', persistentVolumeClaim: { claimName: name } }],
    },
  };
}
