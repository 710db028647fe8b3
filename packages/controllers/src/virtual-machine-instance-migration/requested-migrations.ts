import {
  type VirtualMachineInstance,
  type VirtualMachineInstanceMigration,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Informer } from '@slipway/runtime';

type Migration = VirtualMachineInstanceMigration;

export interface MigrationRequest {
  readonly generateName: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly priority: 'system-critical' | 'user-triggered' | 'system-maintenance';
}

/** Migrations that a controller asks for, with those that it has asked for and the cache does not show yet. */
export class RequestedMigrations {
  private readonly unseen = new Map<string, Migration>();
  private readonly informer: Informer<Migration>;

  constructor(informer: Informer<Migration>) {
    this.informer = informer;
    informer.addHandler(({ object }) => this.unseen.delete(object.metadata.uid ?? ''));
  }

  all(): readonly Migration[] {
    return [...this.informer.lister.list(), ...this.unseen.values()];
  }

  /** Undefined when admission does not take it now: another one is under way, or the guest has ended. */
  async request(
    client: Client,
    vmi: VirtualMachineInstance,
    { generateName, annotations, priority }: MigrationRequest,
    signal: AbortSignal,
  ): Promise<Migration | undefined> {
    const { namespace = '', name = '' } = vmi.metadata;
    const migration: Migration = {
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstanceMigration',
      metadata: { generateName, namespace, annotations: { ...annotations } },
      spec: { vmiName: name, priority },
    };
    try {
      const created = await client.create(VirtualMachineInstanceMigrationKind, migration, { signal });
      const isSeen = this.informer.lister.get({ namespace, name: created.metadata.name ?? '' }) !== undefined;
      if (!isSeen) this.unseen.set(created.metadata.uid ?? '', created);
      return created;
    } catch (error) {
      if (error instanceof StatusError && error.code === 400) return undefined;
      throw error;
    }
  }
}
