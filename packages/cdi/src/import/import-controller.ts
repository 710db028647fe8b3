import { Annotation } from '../constants.ts';
import { workerController } from '../worker/worker-reconciler.ts';
import { importerName, importerPod } from './importer-pod.ts';

/** Fills claims that ask for an import by their annotations. */
export const importController = workerController('import-controller', {
  kind: 'import',
  podName: importerName,
  podFor: importerPod,
  nameAnnotation: Annotation.importPod,
  failed: 'ErrImportFailed',
  succeeded: { reason: 'ImportSucceeded', message: 'Import Successful', condition: 'Import Complete' },
});
