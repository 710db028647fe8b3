import {
  type cdi,
  CDIConfigKind,
  type PersistentVolumeClaim,
  type StorageClass,
  StorageClassKind,
  type StorageProfile,
  StorageProfileKind,
} from '@slipway/api';
import { ignoreNotFound, StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionHandler } from '@slipway/runtime';
import { Annotation } from '../constants.ts';
import { ClaimError, type CloneFacts, completeClaim, type Storage } from './complete-claim.ts';

const OPT_IN = 'cdi.kubevirt.io/applyStorageProfile';
/** Stands where a volume mode would: the profile shall choose. */
const FROM_PROFILE = 'FromStorageProfile';

/** Completes plain claims that ask for it by a label, like the storage of a DataVolume. */
export function claimAdmission({ client }: { readonly client: Client }): AdmissionHandler {
  return {
    name: 'pvc-mutate.cdi.kubevirt.io',
    rules: [{ group: '', resources: ['persistentvolumeclaims'], operations: ['CREATE'] }],
    async mutate({ object }) {
      if (object?.metadata.labels?.[OPT_IN] !== 'true') return undefined;
      const config = await readConfig(client);
      if (config?.spec.webhookPvcRendering === 'Disabled') return undefined;
      const [classes, profiles] = await Promise.all([client.list(StorageClassKind), client.list(StorageProfileKind)]);
      return completed(object, { classes: classes.items, profiles: profiles.items, config });
    },
  };
}

interface Facts {
  readonly classes: readonly StorageClass[];
  readonly profiles: readonly StorageProfile[];
  readonly config: cdi.CDIConfig | undefined;
}

function completed(object: UnstructuredObject, { classes, profiles, config }: Facts): UnstructuredObject {
  const claim = object as unknown as PersistentVolumeClaim; // the rule names no other kind
  const { volumeMode, ...rest } = claim.spec ?? {};
  const asked = { ...rest, ...(volumeMode !== undefined && volumeMode !== FROM_PROFILE && { volumeMode }) };
  const contentType = claim.metadata.annotations?.[Annotation.contentType];
  try {
    const spec = completeClaim(asked as Storage, contentType, {
      classes,
      profile: (name) => profiles.find(({ metadata }) => metadata.name === name),
      config,
      ...(isRestored(claim) && { clone: AS_LARGE_AS_ASKED }),
    });
    return { ...object, spec: { ...rest, ...spec } };
  } catch (error) {
    if (!(error instanceof ClaimError)) throw error;
    const message = `admission webhook "pvc-mutate.cdi.kubevirt.io" denied the request: ${error.message}`;
    throw new StatusError({ code: 400, reason: 'BadRequest', message });
  }
}

/** A claim made from a snapshot has the size of the snapshot, in which room for the file system is contained. */
const isRestored = ({ spec }: PersistentVolumeClaim): boolean =>
  (spec?.dataSourceRef ?? spec?.dataSource)?.kind === 'VolumeSnapshot';

const AS_LARGE_AS_ASKED: CloneFacts = { kind: 'VolumeSnapshot', namespace: '', name: '', capacityBytes: 0, keepsRequest: true };

async function readConfig(client: Client): Promise<cdi.CDIConfig | undefined> {
  return client.get(CDIConfigKind, { namespace: '', name: 'config' }).catch(ignoreNotFound);
}
