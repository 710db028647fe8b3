import { createHash } from 'node:crypto';
import type { Clock } from '@slipway/runtime';
import { Annotation, type Application } from '../kinds.ts';
import type { Repositories } from '../sources/repositories.ts';

/** What a repository said is believed for this long. */
export const POLL_MS = 120_000;
const MAX_RESOLVED = 1000;

export interface ResolvedRevisionsDeps {
  readonly clock: Clock;
  readonly repositories: Pick<Repositories, 'resolve'>;
}

/** Which commits and versions revisions mean, as repositories have said lately. */
export class ResolvedRevisions {
  private readonly resolved = new Map<string, { readonly at: number; readonly commit: string }>();
  private readonly deps: ResolvedRevisionsDeps;

  constructor(deps: ResolvedRevisionsDeps) {
    this.deps = deps;
  }

  /** Asks for the revision again when somebody wants that or when the last answer is old. */
  resolverFor(app: Application): Repositories['resolve'] {
    const isFresh = app.operation !== undefined || app.metadata.annotations?.[Annotation.refresh] !== undefined;
    return async (source, revision, credentials, signal) => {
      // whoever enters in another way learns nothing of what was found in this one
      const key = createHash('sha256')
        .update(JSON.stringify([source.repoURL, source.chart, revision, credentials]))
        .digest('hex');
      const now = this.deps.clock.now();
      const known = this.resolved.get(key);
      if (!isFresh && known && now - known.at < POLL_MS) return known.commit;
      const commit = await this.deps.repositories.resolve(source, revision, credentials, signal);
      if (this.resolved.size > MAX_RESOLVED) this.resolved.clear();
      this.resolved.set(key, { at: now, commit });
      return commit;
    };
  }

  /** Everything is asked for again. */
  forget(): void {
    this.resolved.clear();
  }
}
