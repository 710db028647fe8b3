import { cloneJson } from '@slipway/apimachinery';
import type { Registry } from '../../registry/registry.ts';
import { type WriteContext, putObject } from '../../registry/write-context.ts';
import type { StoredObject } from '../../watch-cache/stored-object.ts';
import { POLICIES, POLICY_GROUP, type Policy } from './policy-types.ts';
import { checkTypes } from './type-check.ts';

export interface PolicyStatusDeps {
  readonly registry: Registry;
  /** Writes policies as the server itself. */
  readonly context: () => WriteContext | undefined;
  readonly logError: (error: unknown, what: string) => void;
}

/** Says in the status of each policy, once per generation, what is wrong with the types in its expressions. */
export class PolicyStatus {
  private readonly deps: PolicyStatusDeps;
  private readonly unsubscribe: () => void;
  private running: Promise<void> = Promise.resolve();

  constructor(deps: PolicyStatusDeps) {
    this.deps = deps;
    const collection = deps.registry.cache.collection({ group: POLICY_GROUP, plural: POLICIES });
    this.unsubscribe = collection.subscribe(({ current }) => current && this.checkSoon(current));
    collection.list().forEach((stored) => this.checkSoon(stored));
  }

  /** Resolves when nothing is left to do. */
  async settled(): Promise<void> {
    let seen: Promise<void> | undefined;
    while (seen !== this.running) {
      seen = this.running;
      await seen;
    }
  }

  close(): void {
    this.unsubscribe();
  }

  private checkSoon(stored: StoredObject): void {
    if (observed(stored.object as Policy)) return; // validated on write
    this.running = this.running
      .then(() => this.check(stored))
      .catch((error: unknown) => this.deps.logError(error, `status of policy ${stored.name}`));
  }

  /** A write that loses a race is made again: the winner's event calls for another check. */
  private async check(stored: StoredObject): Promise<void> {
    const { registry, context } = this.deps;
    const writer = context();
    if (writer === undefined) return;
    const policy = cloneJson(stored.object) as Policy & { status?: unknown };
    const expressionWarnings = checkTypes(registry, policy.spec ?? {});
    policy.status = {
      ...(policy.status as object | undefined),
      observedGeneration: policy.metadata.generation ?? 1,
      typeChecking: { ...(expressionWarnings.length > 0 && { expressionWarnings }) },
    };
    await putObject(writer, stored.key, policy, stored.revision);
  }
}

function observed(policy: Policy & { readonly status?: { readonly observedGeneration?: number } }): boolean {
  return policy.status?.observedGeneration === (policy.metadata.generation ?? 1);
}
