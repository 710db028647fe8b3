import type { TypedParam } from './typed-params.ts';

/** How a guest moves to another daemon. */
export interface MigrateOptions {
  /** The other daemon, as this one reaches it. */
  readonly uri: string;
  /** The domain as the target shall have it. */
  readonly xml: string;
  readonly memoryUri: string;
  /** Disks whose content goes along, by their names in the domain. */
  readonly copied?: { readonly uri: string; readonly disks: readonly string[] };
  /** 0: as fast as it goes. */
  readonly bandwidthMiB?: number;
  readonly autoConverge?: boolean;
  readonly postCopy?: boolean;
}

const MIGRATE = {
  ...{ live: 1, peerToPeer: 2, persist: 8, paused: 32, copyDisks: 64, unsafe: 512, autoConverge: 8192, postCopy: 32768 },
} as const;

/** What libvirt is told about a migration beside the other daemon. Pure. */
export function planMigrate(options: MigrateOptions): { readonly params: readonly TypedParam[]; readonly flags: number } {
  const { copied, bandwidthMiB = 0 } = options;
  const params: TypedParam[] = [
    { name: 'destination_xml', type: 'string', value: options.xml },
    { name: 'persistent_xml', type: 'string', value: options.xml },
    { name: 'migrate_uri', type: 'string', value: options.memoryUri },
    ...(copied ? ([{ name: 'disks_uri', type: 'string', value: copied.uri }] as const) : []),
    ...(copied?.disks ?? []).map((value) => ({ name: 'migrate_disks', type: 'string', value }) as const),
    ...(bandwidthMiB > 0 ? ([{ name: 'bandwidth', type: 'ullong', value: bandwidthMiB }] as const) : []),
  ];
  const flags =
    MIGRATE.live |
    MIGRATE.peerToPeer |
    MIGRATE.persist |
    MIGRATE.paused |
    // which disks are shared and what becomes of the guest is known better by those who ask
    MIGRATE.unsafe |
    (copied ? MIGRATE.copyDisks : 0) |
    (options.autoConverge ? MIGRATE.autoConverge : 0) |
    (options.postCopy ? MIGRATE.postCopy : 0);
  return { params, flags };
}
