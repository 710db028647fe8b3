import { type cdi, CDIKind, DataVolumeKind } from '@slipway/api';
import { StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionHandler } from '@slipway/runtime';
import { HCO_NAME } from '../kinds.ts';
import { CDI_FINALIZER } from './active-cdi.ts';

const CDI_VALIDATOR = 'cdi-validate.cdi.kubevirt.io';
const HCO_VALIDATOR = 'validate-hco.kubevirt.io';
/** On the DataVolumes of DataImportCrons. */
const OF_CRON = 'cdi.kubevirt.io/dataImportCron';

/**
 * A CDI object that says `BlockUninstallIfWorkloadsExist` is not deleted while there are DataVolumes, and neither is
 * the HyperConverged above it, whose operator would delete it. Those that DataImportCrons keep do not count.
 */
export function cdiAdmission({ client }: { readonly client: Client }): AdmissionHandler {
  return {
    name: CDI_VALIDATOR,
    rules: [
      { group: 'cdi.kubevirt.io', resources: ['cdis'], operations: ['CREATE', 'DELETE'] },
      { group: 'hco.kubevirt.io', resources: ['hyperconvergeds'], operations: ['DELETE'] },
    ],

    async mutate({ object, operation, group }) {
      if (operation !== 'CREATE' || group !== 'cdi.kubevirt.io' || object === undefined) return undefined;
      const finalizers = [...new Set([...(object.metadata.finalizers ?? []), CDI_FINALIZER])];
      return { ...object, metadata: { ...object.metadata, finalizers } };
    },

    async validate({ oldObject, operation, group }) {
      if (operation !== 'DELETE' || oldObject === undefined || oldObject.metadata.deletionTimestamp !== undefined) return [];
      if (group === 'cdi.kubevirt.io') await refuseWithDataVolumes(client, [asCdi(oldObject)], CDI_VALIDATOR);
      else if (oldObject.metadata.name === HCO_NAME)
        await refuseWithDataVolumes(client, (await client.list(CDIKind)).items, HCO_VALIDATOR);
      return [];
    },
  };
}

const asCdi = (object: UnstructuredObject): cdi.CDI => object as unknown as cdi.CDI; // the rule names no other kind

async function refuseWithDataVolumes(client: Client, cdis: readonly cdi.CDI[], webhook: string): Promise<void> {
  // a second CDI object manages nothing, so that its end costs nothing
  const isCareful = cdis.some(
    ({ spec, status }) => spec.uninstallStrategy === 'BlockUninstallIfWorkloadsExist' && status?.phase !== 'Error',
  );
  if (!isCareful) return;
  const { items } = await client.list(DataVolumeKind, { labelSelector: `!${OF_CRON}` });
  if (items.length === 0) return;
  throw new StatusError({
    code: 400,
    message: `admission webhook "${webhook}" denied the request: rejecting the uninstall request, since there are still ${items.length} DataVolumes present. Either delete all CDI related workloads or change the uninstall strategy before uninstalling CDI.`,
  });
}
