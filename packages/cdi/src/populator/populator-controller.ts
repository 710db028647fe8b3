import {
  DataSourceKind,
  DataVolumeKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  StorageClassKind,
  VolumeCloneSourceKind,
  VolumeImportSourceKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
  VolumeUploadSourceKind,
} from '@slipway/api';
import { ignoreNotFound, keyOf, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { cloneAnnotations, ClonePlanner, plannerDeps } from '../clone/clone-planner.ts';
import { CloneSources } from '../clone/clone-sources.ts';
import { Annotation } from '../constants.ts';
import { Blocked } from '../data-volume/blocked.ts';
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
      client.get(kind, { namespace, name }, { signal }).catch(ignoreNotFound);
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
    const sources = new CloneSources({
      client,
      claims,
      dataVolumes: informers.lister(DataVolumeKind),
      dataSources: informers.lister(DataSourceKind),
      volumes: informers.lister(PersistentVolumeKind),
      classes: informers.lister(StorageClassKind),
      snapshots: informers.lister(VolumeSnapshotKind),
      snapshotContents: informers.lister(VolumeSnapshotContentKind),
    });
    const planner = new ClonePlanner(plannerDeps(informers));
    /** Undefined while the source of a clone is missing or not ready, which the claim's events say. */
    const request = (claim: PersistentVolumeClaim, source: PopulationSource): Record<string, string> | undefined => {
      try {
        return populationRequest(claim, source, (reference) => {
          const facts = sources.factsOf(reference);
          const plan = planner.plan(claim.spec ?? {}, facts, claim.metadata.annotations?.[Annotation.cloneType]);
          if (plan.fallback) events.warning(claim, plan.fallback.reason, plan.fallback.message);
          return cloneAnnotations(facts, plan);
        });
      } catch (error) {
        if (!(error instanceof Blocked)) throw error;
        events.warning(claim, error.problem.reason, error.problem.message);
        return undefined;
      }
    };
    /** Claims that wait for something to clone. */
    const cloning = ({ metadata }: KubeObject): readonly ObjectKey[] =>
      claims
        .list(metadata.namespace)
        .filter((claim) => populationRef(claim)?.kind === 'VolumeCloneSource' && !claim.spec?.volumeName)
        .map(keyOf);
    return {
      kind: PersistentVolumeClaimKind,
      watches: [
        watchOf(PersistentVolumeClaimKind, cloning),
        watchOf(VolumeSnapshotKind, cloning),
        naming(VolumeImportSourceKind),
        naming(VolumeUploadSourceKind),
        naming(VolumeCloneSourceKind),
      ],
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
          const annotations = request(claim, source);
          if (annotations === undefined) return done;
          await client.patch(PersistentVolumeClaimKind, key, { metadata: { annotations } }, { type: 'merge', signal });
          return done;
        },
      },
    };
  },
};
