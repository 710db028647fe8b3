import { type ControllerRevision, ControllerRevisionKind, type kubevirt, VirtualMachinePoolKind } from '@slipway/api';
import { apiVersionOf, deepEqual, isAlreadyExists, isNotFound, isObject, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

type Pool = kubevirt.VirtualMachinePool;
type Template = kubevirt.VirtualMachineTemplateSpec;

/** The template that a revision keeps. */
export function keptTemplate(revision: ControllerRevision | undefined): Template | undefined {
  const data: unknown = revision?.data;
  // written below
  return isObject(data) && isObject(data['virtualMachineTemplate']) ? (data['virtualMachineTemplate'] as Template) : undefined;
}

/** The record that holds the pool's present template; a change of size alone makes no new one. */
export async function currentRevision(
  client: Client,
  pool: Pool,
  owned: readonly ControllerRevision[],
  signal: AbortSignal,
): Promise<ControllerRevision> {
  const { virtualMachineTemplate } = pool.spec;
  const known = owned.find((revision) => deepEqual(keptTemplate(revision), virtualMachineTemplate));
  if (known) return known;
  const { name = '', namespace = '', uid = '', generation = 0 } = pool.metadata;
  const revision: ControllerRevision = {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `${name}-${generation}`,
      namespace,
      ownerReferences: [
        {
          apiVersion: apiVersionOf(VirtualMachinePoolKind),
          kind: VirtualMachinePoolKind.kind,
          name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    revision: generation,
    data: { virtualMachineTemplate },
  };
  try {
    return await client.create(ControllerRevisionKind, revision, { signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return client.get(ControllerRevisionKind, keyOf(revision), { signal });
  }
}

/** Removes records that no VM and no guest refers to any more. */
export async function pruneRevisions(
  client: Client,
  owned: readonly ControllerRevision[],
  used: ReadonlySet<string | undefined>,
  signal: AbortSignal,
): Promise<void> {
  for (const revision of owned) {
    if (used.has(revision.metadata.name)) continue;
    try {
      await client.delete(ControllerRevisionKind, keyOf(revision), { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
