import { deepEqual, isAlreadyExists } from '@slipway/apimachinery';
import { EndpointSliceKind, NodeKind, ServiceKind } from '@slipway/api';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { KUBERNETES, kubernetesService, kubernetesSlice } from './plan-kubernetes-service.ts';

/** Keeps the Service `kubernetes` and its endpoints, by which pods and guests reach the API server. */
export const kubernetesServiceController: ControllerRegistration = {
  name: 'kubernetes-service-controller',
  rules: [...allow('create', ServiceKind), ...allow('create update', EndpointSliceKind)],
  create({ client, informers, settings }) {
    const services = informers.lister(ServiceKind);
    const slices = informers.lister(EndpointSliceKind);
    const nodes = informers.lister(NodeKind);
    const clusterIP = settings.apiClusterIP;

    const keepService = async (address: string, signal: AbortSignal): Promise<void> => {
      if (services.get(KUBERNETES) === undefined) await client.create(ServiceKind, kubernetesService(address), { signal });
    };
    const keepSlice = async (signal: AbortSignal): Promise<void> => {
      const [wanted, current] = [kubernetesSlice(nodes.list()), slices.get(KUBERNETES)];
      if (current === undefined) await client.create(EndpointSliceKind, wanted, { signal });
      else if (!deepEqual([current.endpoints, current.ports], [wanted.endpoints, wanted.ports])) {
        await client.update(EndpointSliceKind, { ...current, endpoints: wanted.endpoints, ports: wanted.ports }, { signal });
      }
    };

    return {
      kind: ServiceKind,
      watches: [watchOf(NodeKind, () => [KUBERNETES]), watchOf(EndpointSliceKind, isOurs)],
      reconciler: {
        async reconcile({ namespace, name }, signal) {
          if (clusterIP === undefined || namespace !== KUBERNETES.namespace || name !== KUBERNETES.name) return done;
          try {
            await keepService(clusterIP, signal);
            await keepSlice(signal);
          } catch (error) {
            // not in the cache yet: its arrival there brings the next round
            if (!isAlreadyExists(error)) throw error;
          }
          return done;
        },
      },
    };
  },
};

const isOurs = ({ metadata }: { readonly metadata: { readonly namespace?: string; readonly name?: string } }) =>
  metadata.namespace === KUBERNETES.namespace && metadata.name === KUBERNETES.name ? [KUBERNETES] : [];
