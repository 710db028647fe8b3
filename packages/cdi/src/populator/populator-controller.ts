import { PersistentVolumeClaimKind, VolumeCloneSourceKind, VolumeImportSourceKind, VolumeUploadSourceKind } from '@slipway/api';
import { isNotFound, type KubeObject, keyOf, type ResourceKind } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { type PopulationSource, populationRef, populationRequest } from './populator-plan.ts';

/**
 * Fills claims whose `dataSourceRef` names a population source of CDI. The claim is filled in place: it gets the request
 * that a DataVolume's claim has, and there is no second claim whose volume is handed over.
 */
export const populatorController: ControllerRegistration = {
  name: 'volume-populator',
  rules: [
    ...allow('patch', PersistentVolumeClaimKind),
    ...allow('get', VolumeImportSourceKind, VolumeUploadSourceKind, VolumeCloneSourceKind),
  ],
  create: ({ client, events, informers }) => {
    const claims = informers.lister(PersistentVolumeClaimKind);
    /** Claims that wait for a source which came after them. */
    const naming = <T extends KubeObject>(kind: ResourceKind<T>) =>
      watchOf(kind, ({ metadata }) =>
        claims
          .list(metadata.namespace)
          .filter((claim) => {
            const ref = populationRef(claim);
            return ref?.kind === kind.kind && ref.name === metadata.name;
          })
          .map(keyOf),
      );
    const find = async <T extends KubeObject>(kind: ResourceKind<T>, namespace: string, name: string, signal: AbortSignal) =>
      client.get(kind, { namespace, name }, { signal }).catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
    const sourceOf = async (
      { kind, name }: { readonly kind: string; readonly name: string },
      namespace: string,
      signal: AbortSignal,
    ): Promise<PopulationSource | undefined> => {
      if (kind === 'VolumeImportSource') {
        const source = await find(VolumeImportSourceKind, namespace, name, signal);
        return source && { kind, source };
      }
      if (kind === 'VolumeUploadSource') {
        const source = await find(VolumeUploadSourceKind, namespace, name, signal);
        return source && { kind, source };
      }
      if (kind !== 'VolumeCloneSource') return undefined;
      const source = await find(VolumeCloneSourceKind, namespace, name, signal);
      return source && { kind, source };
    };
    return {
      kind: PersistentVolumeClaimKind,
      watches: [naming(VolumeImportSourceKind), naming(VolumeUploadSourceKind), naming(VolumeCloneSourceKind)],
      concurrency: 3,
      reconciler: {
        async reconcile(key, signal) {
          const claim = claims.get(key);
          const ref = claim && populationRef(claim);
          if (claim === undefined || ref === undefined || claim.metadata.deletionTimestamp !== undefined) return done;
          const source = await sourceOf(ref, key.namespace, signal);
          if (source === undefined) {
            if (!claim.spec?.volumeName)
              events.warning(claim, 'NoPopulator', `${ref.kind} "${ref.name}" does not exist: create it`);
            return done;
          }
          const annotations = populationRequest(claim, source);
          if (annotations === undefined) return done;
          await client.patch(PersistentVolumeClaimKind, key, { metadata: { annotations } }, { type: 'merge', signal });
          return done;
        },
      },
    };
  },
};
