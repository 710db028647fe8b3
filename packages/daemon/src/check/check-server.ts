import { randomUUID } from 'node:crypto';
import {
  bundledCustomResourceDefinitions,
  VirtualMachineClusterInstancetypeKind,
  VirtualMachineClusterPreferenceKind,
} from '@slipway/api';
import { builtinResources, createApiServer } from '@slipway/apiserver';
import { dataImportCronAdmission, dataVolumeAdmission } from '@slipway/cdi';
import type { Client } from '@slipway/client';
import { virtAdmissionHandlers } from '@slipway/controllers';
import { cdiAdmission, convertHyperConverged, hyperConvergedAdmission, instanceTypes, preferences } from '@slipway/operators';
import { memoryStoreFs, openStore } from '@slipway/store';
import { clusterConfig } from '@slipway/virt';
import { deferredClient } from '../server/deferred-client.ts';

/** An API server of this process, with the schemas and the admission of the platform, and nothing in it. */
export interface CheckServer {
  readonly client: Client;
  close(): Promise<void>;
}

const CHECKER = { username: 'slipway:check', groups: ['system:masters'] };

export async function startCheckServer(): Promise<CheckServer> {
  const store = await openStore({ fs: memoryStoreFs(), now: Date.now });
  let made: Client | undefined;
  const own = deferredClient(() => {
    if (made === undefined) throw new Error('The API server is not built yet');
    return made;
  });
  const server = await createApiServer({
    store,
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
    fieldConverters: new Map([['hco.kubevirt.io/HyperConverged', convertHyperConverged]]),
    admissionHandlers: [
      ...virtAdmissionHandlers({
        client: own,
        config: () => clusterConfig(),
        now: () => new Date(),
        newUuid: randomUUID,
        isPlatform: () => false,
      }),
      cdiAdmission({ client: own }),
      hyperConvergedAdmission({ client: own }),
      dataImportCronAdmission,
      dataVolumeAdmission({ client: own, findClaim: () => Promise.resolve(undefined) }),
    ],
  });
  made = server.client(CHECKER);
  // what machines may name on every platform
  for (const type of instanceTypes()) await made.create(VirtualMachineClusterInstancetypeKind, type as never);
  for (const preference of preferences()) await made.create(VirtualMachineClusterPreferenceKind, preference as never);
  return {
    client: made,
    async close() {
      await server.close();
      await store.close();
    },
  };
}
