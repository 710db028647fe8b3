import type { kubevirt } from '@slipway/api';
import { Reason } from '@slipway/api';
import {
  controllerOf,
  controllerReference,
  formatLabelSelector,
  formatTime,
  isNotFound,
  type KubeObject,
  keyOf,
  keyString,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type ControllerDeps, type EventRecorder, Expectations, type Lister } from '@slipway/runtime';
import { transition } from '../virtual-machine-instance/instance-state.ts';
import { claimObjects, selectorOfWorkload } from './claim-objects.ts';
import { GROUP_QUIET_START_MS, QuietStart } from './quiet-start.ts';
import { writeStatus } from './write-status.ts';

/** Keeps as many copies of a template as it asks for: a pool of VMs, or a replica set of instances. */
export interface GuestGroup extends KubeObject {
  readonly spec: { readonly paused?: boolean; readonly replicas?: number; readonly selector: object };
  status?: {
    readonly replicas?: number;
    readonly readyReplicas?: number;
    readonly labelSelector?: string;
    readonly conditions?: GroupCondition[];
  };
}
type GroupCondition = kubevirt.VirtualMachinePoolCondition;

/** Why a member could not be made, changed or removed, as the condition ReplicaFailure has it. */
export interface GroupFailure {
  readonly reason: string;
  readonly message: string;
}

/** What one kind of group says; events keep KubeVirt's words. */
export interface GroupTexts<M> {
  readonly created: (member: M) => string;
  readonly deleted: (member: M) => string;
  /** Reason of the event, and what stands before the error. */
  readonly createFailed: readonly [reason: string, text: string];
  readonly deleteFailed: readonly [reason: string, text: string];
  readonly paused: readonly [reason: string, text: string];
  readonly resumed: readonly [reason: string, text: string];
}

const PAUSED = { type: 'ReplicaPaused', status: 'True', reason: 'Paused', message: 'Controller got paused' };

/** `status` of a group; the selector is there for autoscalers. `now` is RFC 3339. */
export function groupStatus(
  { spec, status }: GuestGroup,
  counts: { readonly replicas: number; readonly readyReplicas: number },
  failure: GroupFailure | undefined,
  now: string,
): NonNullable<GuestGroup['status']> {
  const wanted = [
    ...(failure === undefined ? [] : [{ type: 'ReplicaFailure', status: 'True', ...failure }]),
    ...(spec.paused === true ? [PAUSED] : []),
  ];
  const before = (type: string) => status?.conditions?.find((condition) => condition.type === type);
  const conditions = wanted.map((text) => transition(before(text.type), text, now));
  return { ...counts, labelSelector: selectorText(spec), ...(conditions.length > 0 && { conditions: [...conditions] }) };
}

function selectorText({ selector }: GuestGroup['spec']): string {
  const { matchLabels = {} } = selector as { matchLabels?: Readonly<Record<string, string>> }; // a label selector
  const terms = selectorOfWorkload({ selector }) ?? [];
  // matchLabels are written as equality, which is what autoscalers and people expect
  const isEquality = ({ key, operator, values }: (typeof terms)[number]): boolean =>
    operator === 'In' && values.length === 1 && matchLabels[key] === values[0];
  return formatLabelSelector(terms.map((term) => (isEquality(term) ? { ...term, operator: '=' } : term)));
}

/** The members of one kind of group: whose they are, and the writes that the cache does not show yet. */
export class GroupMembers<O extends GuestGroup, M extends KubeObject> {
  private readonly client: Client;
  private readonly events: EventRecorder;
  private readonly deps: ControllerDeps;
  private readonly expectations: Expectations;
  private readonly members: Lister<M>;
  private readonly ownerKind: ResourceKind<O>;
  private readonly memberKind: ResourceKind<M>;
  private readonly texts: GroupTexts<M>;
  private readonly quietStart: QuietStart;

  constructor(deps: ControllerDeps, ownerKind: ResourceKind<O>, memberKind: ResourceKind<M>, texts: GroupTexts<M>) {
    const { client, events, clock, informers } = deps;
    this.client = client;
    this.events = events;
    this.deps = deps;
    this.ownerKind = ownerKind;
    this.memberKind = memberKind;
    this.texts = texts;
    this.quietStart = new QuietStart(clock, GROUP_QUIET_START_MS);
    this.expectations = new Expectations({ clock });
    const informer = informers.for(memberKind);
    this.members = informer.lister;
    informer.addHandler(({ type, object }) => {
      const owner = this.groupOf(object);
      if (owner === undefined) return;
      const key = keyString(owner);
      if (type === 'added') this.expectations.creationObserved(key);
      if (type === 'deleted' || object.metadata.deletionTimestamp !== undefined)
        this.expectations.deletionObserved(key, object.metadata.uid ?? '');
    });
  }

  /** The group that controls this member. */
  groupOf(member: KubeObject): ObjectKey | undefined {
    const owner = controllerOf(member);
    if (owner?.kind !== this.ownerKind.kind) return undefined;
    return { namespace: member.metadata.namespace ?? '', name: owner.name };
  }

  /** The owner reference of a new member. */
  reference(owner: O) {
    return controllerReference(owner, this.ownerKind);
  }

  /** The group's members; one whose labels do not match any more is let go. */
  async of(owner: O, signal: AbortSignal): Promise<readonly M[]> {
    const candidates = this.members.ownedBy(owner.metadata.uid ?? '');
    const selector = selectorOfWorkload(owner.spec);
    if (selector === undefined || selector.length === 0) return candidates;
    const { ownerKind, memberKind: kind } = this;
    return claimObjects(this.client, { kind, owner, ownerKind, selector, candidates }, signal);
  }

  /** True when the cache shows every write of before; decisions on fewer members would be repeated. */
  isSettled(owner: O): boolean {
    return this.expectations.isSatisfied(keyString(keyOf(owner)));
  }

  /** The group is gone. */
  forget(key: ObjectKey): void {
    this.expectations.forget(keyString(key));
    this.quietStart.forget(key);
  }

  /** Creates one member; a failure is an event and what is answered. */
  async create(owner: O, member: M, signal: AbortSignal): Promise<GroupFailure | undefined> {
    const key = keyString(keyOf(owner));
    this.expectations.expectCreations(key, 1);
    try {
      const created = await this.client.create(this.memberKind, member, { signal });
      this.events.normal(owner, Reason.successfulCreate, this.texts.created(created));
      return undefined;
    } catch (error) {
      this.expectations.creationObserved(key);
      return this.failed(owner, this.texts.createFailed, Reason.failedCreate, error, signal);
    }
  }

  /** Removes one member, after what has to happen before. */
  async remove(
    owner: O,
    member: M,
    signal: AbortSignal,
    before: () => Promise<void> = async () => {},
  ): Promise<GroupFailure | undefined> {
    const { uid = '' } = member.metadata;
    const key = keyString(keyOf(owner));
    this.expectations.expectDeletion(key, uid);
    try {
      await before();
      await this.client.delete(this.memberKind, keyOf(member), { preconditions: { uid }, signal });
      this.events.normal(owner, Reason.successfulDelete, this.texts.deleted(member));
      return undefined;
    } catch (error) {
      this.expectations.deletionObserved(key, uid);
      if (isNotFound(error)) return undefined;
      return this.failed(owner, this.texts.deleteFailed, Reason.failedDelete, error, signal);
    }
  }

  /** Tells of an error by an event; what is answered becomes the condition. */
  failed(
    owner: O,
    [event, text]: readonly [reason: string, text: string],
    reason: string,
    error: unknown,
    signal: AbortSignal,
  ): GroupFailure {
    if (signal.aborted) throw error;
    const message = error instanceof Error ? error.message : String(error);
    this.events.warning(owner, event, `${text}${message}`);
    return { reason, message };
  }

  /** Says once that the group was paused, or goes on. */
  reportPause(owner: O): void {
    const wasPaused = (owner.status?.conditions ?? []).some(({ type }) => type === PAUSED.type);
    const isPaused = owner.spec.paused === true;
    if (isPaused && !wasPaused) this.events.normal(owner, ...this.texts.paused);
    if (!isPaused && wasPaused) this.events.normal(owner, ...this.texts.resumed);
  }

  /**
   * Stores the status, and fails when something has failed, so that it is tried again. The first status of a new group waits
   * a moment: answers after how many milliseconds to come back for it.
   */
  async store(
    owner: O,
    counts: { readonly replicas: number; readonly readyReplicas: number },
    failure: GroupFailure | undefined,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const quietMs = owner.status?.replicas === undefined && failure === undefined ? this.quietStart.leftMs(owner) : 0;
    if (quietMs > 0) return quietMs;
    const status = groupStatus(owner, counts, failure, formatTime(this.deps.clock.now()));
    await writeStatus(this.client, this.ownerKind, owner, status, signal);
    if (failure !== undefined) throw new Error(`${failure.reason}: ${failure.message}`);
    return undefined;
  }
}
