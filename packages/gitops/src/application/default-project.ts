import { ignoreNotFound, isConflict, StatusError } from '@slipway/apimachinery';
import { NamespaceKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type ControllerRegistration, done, watchSameKey } from '@slipway/runtime';
import { AppProjectKind, DEFAULT_PROJECT, GITOPS_NAMESPACES } from '../kinds.ts';

/** On a namespace: its `default` project has been made once. An administrator who deletes it gets no other. */
export const DEFAULT_PROJECT_ANNOTATION = 'slipway.dev/default-project';

/**
 * Makes the project `default`, which permits everything, as soon as a namespace of applications exists. Applications of a
 * project that is not there are refused, so who wants to permit less changes or deletes it.
 */
export const defaultProjectController: ControllerRegistration = {
  name: 'gitops-default-project',
  rules: [
    { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list', 'watch', 'patch'] },
    { apiGroups: ['argoproj.io'], resources: ['appprojects'], verbs: ['create'] },
  ],
  create: ({ client }) => ({
    watches: [watchSameKey(NamespaceKind)],
    reconciler: {
      async reconcile({ name }, signal) {
        if (GITOPS_NAMESPACES.has(name)) await ensureDefaultProject(client, name, signal);
        return done;
      },
    },
  }),
};

async function ensureDefaultProject(client: Client, name: string, signal: AbortSignal): Promise<void> {
  const namespace = await client.get(NamespaceKind, { namespace: '', name }, { signal }).catch(ignoreNotFound);
  if (namespace === undefined || namespace.metadata.deletionTimestamp !== undefined) return;
  if (namespace.metadata.annotations?.[DEFAULT_PROJECT_ANNOTATION] !== undefined) return;
  const spec = {
    sourceRepos: ['*'],
    destinations: [{ server: '*', namespace: '*' }],
    clusterResourceWhitelist: [{ group: '*', kind: '*' }],
  };
  const metadata = { name: DEFAULT_PROJECT, namespace: name };
  await client
    .create(AppProjectKind, { apiVersion: 'argoproj.io/v1alpha1', kind: 'AppProject', metadata, spec }, { signal })
    .catch((error: unknown) => {
      // one that is there already is the administrator's
      if (!isConflict(error) && !(error instanceof StatusError && error.code === 409)) throw error;
    });
  const annotations = { [DEFAULT_PROJECT_ANNOTATION]: 'created' };
  await client.patch(NamespaceKind, { namespace: '', name }, { metadata: { annotations } }, { type: 'merge', signal });
}
