import {
  controllerReference,
  deepEqual,
  isAlreadyExists,
  isControlledBy,
  isNotFound,
  type KubeObject,
  keyOf,
  type ResourceKind,
} from '@slipway/apimachinery';
import { type ControllerRevision, ControllerRevisionKind, type core } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { Lister } from '@slipway/runtime';
import { templateHash } from './template-hash.ts';

/** Label of revisions and, with a value of the workload's choice, of their pods. */
export const REVISION_LABEL = 'controller-revision-hash';

interface Templated extends KubeObject {
  readonly spec?: { readonly template?: core.PodTemplateSpec; readonly revisionHistoryLimit?: number };
  readonly status?: { readonly collisionCount?: number };
}

interface RevisionData {
  readonly spec?: { readonly template?: core.PodTemplateSpec };
}

export interface History {
  /** The revision of the template as it is now. */
  readonly update: ControllerRevision;
  /** All of them, oldest first. */
  readonly all: readonly ControllerRevision[];
}

/** Hash of a revision's template. */
export const hashOf = ({ metadata }: ControllerRevision): string => metadata.labels?.[REVISION_LABEL] ?? '';

/** The template that a revision keeps. */
export function templateOf({ data }: ControllerRevision): core.PodTemplateSpec {
  const { $patch: _, ...template } = ((data as RevisionData | undefined)?.spec?.template ?? {}) as Record<string, unknown>; // we wrote it
  return template;
}

/** Remembers each template of a workload as a ControllerRevision, the way that `kubectl rollout undo` reads them. */
export class RevisionHistory<O extends Templated> {
  private readonly client: Client;
  private readonly revisions: Lister<ControllerRevision>;
  private readonly kind: ResourceKind<O>;

  constructor(client: Client, revisions: Lister<ControllerRevision>, kind: ResourceKind<O>) {
    this.client = client;
    this.revisions = revisions;
    this.kind = kind;
  }

  /** The history with the template as it is now in it, as the newest. */
  async sync(owner: O, signal: AbortSignal): Promise<History> {
    const all = this.revisions
      .ownedBy(owner.metadata.uid ?? '')
      .filter((revision) => isControlledBy(revision, owner))
      .sort((a, b) => (a.revision ?? 0) - (b.revision ?? 0));
    const data = { spec: { template: { ...owner.spec?.template, $patch: 'replace' } } };
    const next = (all.at(-1)?.revision ?? 0) + 1;
    const known = all.find((revision) => deepEqual(revision.data, data));
    if (known && known === all.at(-1)) return { update: known, all };
    const update = known
      ? await this.client.update(ControllerRevisionKind, { ...known, revision: next }, { signal })
      : await this.create(owner, data, next, signal);
    return { update, all: [...all.filter((revision) => revision !== known), update] };
  }

  private async create(owner: O, data: object, revision: number, signal: AbortSignal): Promise<ControllerRevision> {
    const { name = '', namespace = '' } = owner.metadata;
    const hash = templateHash(owner.spec?.template, owner.status?.collisionCount);
    // the published metadata type allows what our own names exactly
    const { labels = {} } = (owner.spec?.template?.metadata ?? {}) as KubeObject['metadata'];
    const wanted: ControllerRevision = {
      apiVersion: 'apps/v1',
      kind: 'ControllerRevision',
      metadata: {
        name: `${name}-${hash}`,
        namespace,
        labels: { ...labels, [REVISION_LABEL]: hash },
        annotations: { ...owner.metadata.annotations },
        ownerReferences: [controllerReference(owner, this.kind)],
      },
      data,
      revision,
    };
    try {
      return await this.client.create(ControllerRevisionKind, wanted, { signal });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return this.client.get(ControllerRevisionKind, keyOf(wanted), { signal }); // the cache was behind
    }
  }

  /** Removes the oldest revisions beyond the limit, but none that is in use. */
  async trim(owner: O, { all }: History, isUsed: (revision: ControllerRevision) => boolean, signal: AbortSignal): Promise<void> {
    const idle = all.filter((revision) => !isUsed(revision));
    const surplus = idle.slice(0, Math.max(0, idle.length - (owner.spec?.revisionHistoryLimit ?? 10)));
    for (const revision of surplus) {
      try {
        await this.client.delete(ControllerRevisionKind, keyOf(revision), { signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }
}
