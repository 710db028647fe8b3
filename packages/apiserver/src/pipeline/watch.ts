import { type FieldError, StatusError, apiVersionOf, internalError, invalid } from '@slipway/apimachinery';
import type { Registry } from '../registry/registry.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import type { Collection, CollectionEvent } from '../watch-cache/collection.ts';
import { ObjectFrame, frameOfValue } from '../watch-cache/object-frame.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';
import { checkTimeout } from './list.ts';
import type { WatchFrame, WatchSession } from './request.ts';
import { parseResourceVersion, readPast, tooOld, waitForRevision } from './resource-version.ts';
import { type Selection, isSelected, selectionOf } from './selection.ts';

type FrameType = 'ADDED' | 'MODIFIED' | 'DELETED';
type Emit = (type: FrameType, stored: StoredObject, event?: CollectionEvent) => void;
/** Another shape for the objects of a stream (Table, PartialObjectMetadata); undefined: the object itself. */
export type FrameShape = (type: WatchFrame['type'], stored: StoredObject) => unknown;

/** Objects shown to a new watcher in one turn of the event loop. */
const SLICE_OBJECTS = 250;
const BOOKMARK_INTERVAL_MS = 60_000;
const BOOKMARK_BEFORE_END_MS = 2_000;
const DEFAULT_TIMEOUT_MS = 30 * 60_000;

interface WatchParameters {
  readonly namespace: string;
  readonly selection: Selection;
  /** Undefined or 0: begin with what is there now. */
  readonly revision: number | undefined;
  readonly wantsBookmarks: boolean;
  readonly timeoutMs: number;
}

/** Checks the parameters of a watch and prepares it. Throws StatusError 400, 410, 422 or 504. */
export async function openWatch(
  registry: Registry,
  definition: ResourceDefinition,
  namespace: string,
  query: URLSearchParams,
  shape?: FrameShape,
): Promise<WatchSession> {
  const parameters = parametersOf(definition, namespace, query);
  const { revision } = parameters;
  if (revision !== undefined && revision > registry.cache.revision) await waitForRevision(registry.cache, revision);
  return { start: (onFrame, onEnd) => run({ registry, definition, parameters, shape, onFrame, onEnd }) };
}

function parametersOf(definition: ResourceDefinition, namespace: string, query: URLSearchParams): WatchParameters {
  refuseVersionMatch(query);
  checkTimeout(query);
  const seconds = Number(query.get('timeoutSeconds') ?? 0);
  return {
    namespace,
    selection: selectionOf(definition, query),
    revision: parseResourceVersion(query.get('resourceVersion')),
    wantsBookmarks: ['true', '1'].includes(query.get('allowWatchBookmarks') ?? ''),
    timeoutMs: seconds > 0 ? seconds * 1000 : DEFAULT_TIMEOUT_MS,
  };
}

function refuseVersionMatch(query: URLSearchParams): void {
  const match = query.get('resourceVersionMatch');
  if (!match) return;
  const errors: FieldError[] = [];
  const forbid = (detail: string): void => {
    errors.push({ type: 'Forbidden', path: 'resourceVersionMatch', detail: `Forbidden: ${detail}` });
  };
  // 1.26 has no streaming lists: clients that try one fall back to list and watch when it is refused
  forbid('resourceVersionMatch is forbidden for watch');
  if (!query.get('resourceVersion')) forbid('resourceVersionMatch is forbidden unless resourceVersion is provided');
  throw invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', errors);
}

interface Run {
  readonly registry: Registry;
  readonly definition: ResourceDefinition;
  readonly parameters: WatchParameters;
  readonly shape: FrameShape | undefined;
  readonly onFrame: (frame: WatchFrame) => void;
  readonly onEnd: () => void;
}

function run({ registry, definition, parameters, shape, onFrame, onEnd }: Run): () => void {
  const collection = registry.collectionOf(definition);
  const emit: Emit = (type, stored, event) => onFrame(frameOf(shape, type, stored, event));
  const fail = (error: unknown): void => {
    finish();
    onFrame(frameOfValue('ERROR', (error instanceof StatusError ? error : internalError('the watch failed', error)).status));
    onEnd();
  };
  const order = definition.convert === undefined ? slices(fail) : conversions(registry, definition, fail);
  const { inOrder } = order;
  const onEvent = (event: CollectionEvent): void =>
    inOrder(
      () => viewsOf(event),
      () => deliver(registry, definition, parameters, event, emit),
    );
  const bookmark = (): void => {
    const frame = bookmarkFrame(definition, registry.cache.revision);
    inOrder(
      () => [],
      () => onFrame(frame),
    );
  };

  const finish = (): void => {
    unsubscribe();
    order.stop();
    clearTimeout(timeout);
    clearTimeout(lastBookmark);
    clearInterval(regular);
  };
  // nothing can happen between the catching up and the subscription: both run in this turn
  const failure = catchUp({ registry, definition, collection, parameters, emit, onEvent, order });
  const unsubscribe = failure === undefined ? collection.subscribe(onEvent) : () => undefined;
  if (failure !== undefined) {
    onFrame(frameOfValue('ERROR', failure.status));
    queueMicrotask(onEnd);
  }
  const timeout = setTimeout(() => {
    finish();
    onEnd();
  }, parameters.timeoutMs);
  const wants = parameters.wantsBookmarks && failure === undefined;
  const regular = wants ? setInterval(bookmark, BOOKMARK_INTERVAL_MS) : undefined;
  const beforeEnd = Math.max(0, parameters.timeoutMs - BOOKMARK_BEFORE_END_MS);
  const lastBookmark = wants ? setTimeout(bookmark, beforeEnd) : undefined;
  if (failure !== undefined) clearTimeout(timeout);
  return finish;
}

/** Runs a step now, or when the objects it needs have been converted and all earlier steps are done. */
type InOrder = (needs: () => readonly StoredObject[], step: () => void) => void;

interface Order {
  readonly inOrder: InOrder;
  /** Shows what is there at the beginning, before any other step. */
  readonly showAll: (objects: readonly StoredObject[], show: (stored: StoredObject) => void) => void;
  readonly stop: () => void;
}

/** At once; many objects at the beginning in slices, so that nobody else is kept waiting. Other steps wait for the last. */
function slices(fail: (error: unknown) => void): Order {
  const waiting: (() => void)[] = [];
  let isShowing = false;
  let isStopped = false;
  const showSlice = (objects: readonly StoredObject[], start: number, show: (stored: StoredObject) => void): void => {
    const end = start + SLICE_OBJECTS;
    for (const stored of objects.slice(start, end)) show(stored);
    isShowing = end < objects.length;
    if (isShowing) setImmediate(() => goOn(objects, end, show));
    else for (const step of waiting.splice(0)) step();
  };
  const goOn: typeof showSlice = (...slice) => {
    if (isStopped) return;
    try {
      showSlice(...slice);
    } catch (error) {
      fail(error);
    }
  };
  return {
    inOrder: (_needs, step) => (isShowing ? void waiting.push(step) : step()),
    showAll: (objects, show) => showSlice(objects, 0, show),
    stop: () => (isStopped = true),
  };
}

function conversions(registry: Registry, definition: ResourceDefinition, fail: (error: unknown) => void): Order {
  let last = Promise.resolve();
  const inOrder: InOrder = (needs, step) => {
    last = last.then(() => registry.prepare(definition, needs())).then(step);
    last.catch(fail);
  };
  return {
    inOrder,
    showAll: (objects, show) =>
      inOrder(
        () => objects,
        () => objects.forEach(show),
      ),
    stop: () => undefined,
  };
}

/** Every object that showing an event may take. */
const viewsOf = (event: CollectionEvent): StoredObject[] => {
  const { current, previous } = event;
  return [...(current ? [current] : []), ...(previous ? [previous, event.departed] : [])];
};

interface CatchUp {
  readonly registry: Registry;
  readonly definition: ResourceDefinition;
  readonly collection: Collection;
  readonly parameters: WatchParameters;
  readonly emit: Emit;
  readonly onEvent: (event: CollectionEvent) => void;
  readonly order: Order;
}

function catchUp({ registry, definition, collection, parameters, emit, onEvent, order }: CatchUp): StatusError | undefined {
  const { namespace, selection, revision } = parameters;
  if (revision === undefined || revision === 0) {
    order.showAll(collection.list(namespace), (stored) => {
      const shown = registry.view(definition, stored);
      if (isSelected(definition, selection, shown)) emit('ADDED', shown);
    });
    return undefined;
  }
  try {
    if (revision < registry.oldestWatchRevision) throw tooOld(revision, registry.oldestWatchRevision);
    for (const event of readPast(revision, () => collection.eventsAfter(revision))) onEvent(event);
    return undefined;
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
}

/** An object that starts to match is ADDED for the watcher, one that stops is DELETED. */
function deliver(
  registry: Registry,
  definition: ResourceDefinition,
  { namespace, selection }: WatchParameters,
  event: CollectionEvent,
  emit: Emit,
): void {
  const { current, previous } = event;
  if (namespace !== '' && (current ?? previous)?.namespace !== namespace) return;
  if (selection.isEverything) {
    if (current === undefined) emit('DELETED', registry.view(definition, event.departed), event);
    else emit(previous === undefined ? 'ADDED' : 'MODIFIED', registry.view(definition, current), event);
    return;
  }
  const matches = (stored: StoredObject | undefined): StoredObject | undefined => {
    const shown = stored && registry.view(definition, stored);
    return shown && isSelected(definition, selection, shown) ? shown : undefined;
  };
  const now = matches(current);
  const before = matches(previous);
  if (now !== undefined) emit(before === undefined ? 'ADDED' : 'MODIFIED', now, event);
  else if (before !== undefined) emit('DELETED', registry.view(definition, event.departed), event);
}

/** Watchers of the same event share its frame; each has its own of a shape. */
function frameOf(
  shape: FrameShape | undefined,
  type: FrameType,
  stored: StoredObject,
  event: CollectionEvent | undefined,
): WatchFrame {
  if (shape !== undefined) return frameOfValue(type, shape(type, stored));
  return event === undefined ? new ObjectFrame(type, stored) : event.frame(type, stored);
}

function bookmarkFrame(definition: ResourceDefinition, revision: number): WatchFrame {
  return frameOfValue('BOOKMARK', {
    kind: definition.kind,
    apiVersion: apiVersionOf(definition),
    metadata: { resourceVersion: String(revision) },
  });
}
