import { workerController } from '../worker/worker-reconciler.ts';
import { UPLOAD_POD_ANNOTATION, uploadPod, uploadPodName } from './upload-pod.ts';

/** Gives claims that are upload targets the pod that takes the upload. */
export const uploadController = workerController('upload-controller', {
  kind: 'upload',
  podName: ({ metadata }) => uploadPodName(metadata.name ?? ''),
  podFor: uploadPod,
  nameAnnotation: UPLOAD_POD_ANNOTATION,
  failed: 'UploadFailed',
  succeeded: { reason: 'UploadSucceeded', message: 'Upload Successful', condition: 'Upload Complete' },
});
