import { isAlreadyExists, type KubeObject, type ObjectKey, type ResourceKind, StatusError } from '@slipway/apimachinery';
import { ConfigMapKind, NamespaceKind, ServiceAccountKind } from '@slipway/api';
import { allow, type ControllerDeps, type ControllerRegistration, done, watchOf } from '@slipway/runtime';

const DEFAULT_ACCOUNT = 'default';
const CA_CONFIG_MAP = 'kube-root-ca.crt';
/** The text that every cluster has here; tools compare it. */
const CA_DESCRIPTION =
  'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.';

/** Gives every namespace its `default` ServiceAccount and the CA that pods use to trust the API server. */
export const serviceAccountController: ControllerRegistration = {
  name: 'service-account-controller',
  rules: [...allow('create', ServiceAccountKind), ...allow('create update', ConfigMapKind)],
  create(deps) {
    const { informers, settings } = deps;
    const namespaces = informers.lister(NamespaceKind);
    const accounts = informers.lister(ServiceAccountKind);
    const configMaps = informers.lister(ConfigMapKind);
    const namespaceOf = ({ metadata }: KubeObject): readonly ObjectKey[] => [{ namespace: '', name: metadata.namespace ?? '' }];
    const isNamed =
      (name: string) =>
      ({ object }: { object: KubeObject }) =>
        object.metadata.name === name;
    return {
      kind: NamespaceKind,
      watches: [
        watchOf(ServiceAccountKind, namespaceOf, isNamed(DEFAULT_ACCOUNT)),
        watchOf(ConfigMapKind, namespaceOf, isNamed(CA_CONFIG_MAP)),
      ],
      reconciler: {
        async reconcile({ name: namespace }, signal) {
          const object = namespaces.get({ namespace: '', name: namespace });
          if (object === undefined || object.metadata.deletionTimestamp) return done;
          if (!accounts.get({ namespace, name: DEFAULT_ACCOUNT })) {
            const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: DEFAULT_ACCOUNT, namespace } };
            await createMissing(deps, ServiceAccountKind, account, signal);
          }
          const current = configMaps.get({ namespace, name: CA_CONFIG_MAP });
          const data = { 'ca.crt': settings.caBundle };
          if (!current) {
            const annotations = { 'kubernetes.io/description': CA_DESCRIPTION };
            const metadata = { name: CA_CONFIG_MAP, namespace, annotations };
            const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
            await createMissing(deps, ConfigMapKind, configMap, signal);
          } else if (current.data?.['ca.crt'] !== settings.caBundle) {
            await deps.client.update(ConfigMapKind, { ...current, data }, { signal });
          }
          return done;
        },
      },
    };
  },
};

async function createMissing<T extends KubeObject>(
  { client }: ControllerDeps,
  kind: ResourceKind<T>,
  object: T,
  signal: AbortSignal,
): Promise<void> {
  try {
    await client.create(kind, object, { signal });
  } catch (error) {
    // exists already, or the namespace is going away
    if (!isAlreadyExists(error) && !(error instanceof StatusError && (error.code === 403 || error.code === 404))) throw error;
  }
}
