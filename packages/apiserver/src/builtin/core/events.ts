import type { CoreEvent } from '@slipway/api';
import {
  type UnstructuredObject,
  ageOf,
  checkQualifiedName,
  invalidValue,
  requiredValue,
  type FieldError,
} from '@slipway/apimachinery';
import { type BuiltinKind, column, nameColumn, typed } from '../define.ts';

/** Fields of both APIs' events as stored (core shape), and whichever are absent. */
type StoredEvent = CoreEvent & { eventTime?: string | null; reportingComponent?: string; reportingInstance?: string };

const seenAt = (event: StoredEvent, time: string | undefined | null): string | undefined => time ?? event.eventTime ?? undefined;

const lastSeen = (event: StoredEvent): string | undefined =>
  event.series?.lastObservedTime ?? seenAt(event, event.lastTimestamp ?? event.firstTimestamp);

const sourceText = ({ source, reportingComponent, reportingInstance }: StoredEvent): string => {
  const component = source?.component || reportingComponent || '';
  const host = source?.host || reportingInstance || '';
  return host === '' ? component : `${component}, ${host}`;
};

const columns = [
  column('Last Seen', (object, nowMs) => ageOf(lastSeen(typed<StoredEvent>(object)), nowMs)),
  column('Type', (object) => typed<StoredEvent>(object).type ?? ''),
  column('Reason', (object) => typed<StoredEvent>(object).reason ?? ''),
  column('Object', (object) => {
    const { kind, name } = typed<StoredEvent>(object).involvedObject;
    return name ? `${(kind ?? '').toLowerCase()}/${name}` : (kind ?? '').toLowerCase();
  }),
  column('Subobject', (object) => typed<StoredEvent>(object).involvedObject.fieldPath ?? '', { wide: true }),
  column('Source', (object) => sourceText(typed<StoredEvent>(object)), { wide: true }),
  column('Message', (object) => (typed<StoredEvent>(object).message ?? '').trim()),
  column(
    'First Seen',
    (object, nowMs) => {
      const event = typed<StoredEvent>(object);
      return ageOf(seenAt(event, event.firstTimestamp), nowMs);
    },
    { wide: true },
  ),
  column(
    'Count',
    (object) => {
      const event = typed<StoredEvent>(object);
      return event.series?.count ?? event.count ?? 1;
    },
    { wide: true },
  ),
  { ...nameColumn, priority: 1 },
];

function defaultEvent(event: StoredEvent): void {
  event.involvedObject ??= {};
  event.source ??= {};
  event.firstTimestamp ??= null as unknown as string; // the API server writes null here
  event.lastTimestamp ??= null as unknown as string;
  event.eventTime ??= null as unknown as string;
  event.reportingComponent ??= '';
  event.reportingInstance ??= '';
}

function validateNamespace(event: StoredEvent): FieldError[] {
  const { involvedObject, metadata } = event;
  const namespace = involvedObject?.namespace ?? '';
  if (namespace === metadata.namespace || (namespace === '' && metadata.namespace === 'default')) return [];
  return [invalidValue('involvedObject.namespace', namespace, 'does not match event.namespace')];
}

const field = (value: string | undefined): string => value ?? '';

export const coreEventKind: BuiltinKind = {
  kind: 'Event',
  plural: 'events',
  definition: 'core.v1.Event',
  shortNames: ['ev'],
  strategy: {
    allowCreateOnUpdate: true,
    default: (object) => defaultEvent(typed<StoredEvent>(object)),
    validate: (object) => validateNamespace(typed<StoredEvent>(object)),
  },
  columns,
  selectableFields(object) {
    const event = typed<StoredEvent>(object);
    const target = event.involvedObject ?? {};
    return {
      'involvedObject.kind': field(target.kind),
      'involvedObject.namespace': field(target.namespace),
      'involvedObject.name': field(target.name),
      'involvedObject.uid': field(target.uid),
      'involvedObject.apiVersion': field(target.apiVersion),
      'involvedObject.resourceVersion': field(target.resourceVersion),
      'involvedObject.fieldPath': field(target.fieldPath),
      reason: field(event.reason),
      reportingComponent: field(event.reportingComponent),
      source: event.source?.component || field(event.reportingComponent),
      type: field(event.type),
    };
  },
};

/** Stored name, name in `events.k8s.io`. */
const RENAMED = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
] as const;

function rename(object: UnstructuredObject, apiVersion: string, from: 0 | 1): UnstructuredObject {
  const result: UnstructuredObject = { ...object, apiVersion };
  for (const pair of RENAMED) {
    const [source, target] = [pair[from], pair[1 - from] ?? ''];
    delete result[source];
    // the newer API leaves out what the older one writes as empty
    if (object[source] !== undefined && !(from === 0 && object[source] === '')) result[target] = object[source];
  }
  return result;
}

const MAX_NOTE_BYTES = 1024;

function validateNewEvent(object: UnstructuredObject): FieldError[] {
  const errors: FieldError[] = [];
  const text = (name: string): string => (typeof object[name] === 'string' ? object[name] : '');
  if (!object['eventTime']) return errors; // written through the core API
  const controller = text('reportingController');
  if (controller === '') errors.push(requiredValue('reportingController'));
  for (const complaint of checkQualifiedName(controller)) errors.push(invalidValue('reportingController', controller, complaint));
  if (text('reportingInstance') === '') errors.push(requiredValue('reportingInstance'));
  if (text('action') === '') errors.push(requiredValue('action'));
  if (text('reason') === '') errors.push(requiredValue('reason'));
  if (!['Normal', 'Warning'].includes(text('type'))) errors.push(invalidValue('type', '', `has invalid value: ${text('type')}`));
  if (Buffer.byteLength(text('note')) > MAX_NOTE_BYTES) {
    errors.push(invalidValue('message', '', 'can have at most 1024 characters'));
  }
  return errors;
}

export const newEventKind: BuiltinKind = {
  group: 'events.k8s.io',
  kind: 'Event',
  plural: 'events',
  definition: 'events.v1.Event',
  errorGroup: '',
  shortNames: ['ev'],
  storage: { group: '', plural: 'events' },
  fromStorage: (object) => rename(object, 'events.k8s.io/v1', 0),
  toStorage: (object) => rename(object, 'v1', 1),
  strategy: {
    allowCreateOnUpdate: true,
    default(object) {
      object['regarding'] ??= {};
      object['deprecatedSource'] ??= {};
      object['deprecatedFirstTimestamp'] ??= null;
      object['deprecatedLastTimestamp'] ??= null;
      object['eventTime'] ??= null;
    },
    validate: validateNewEvent,
  },
  columns: columns.map((entry) => ({ ...entry, cell: (object, nowMs) => entry.cell(rename(object, 'v1', 1), nowMs) })),
  selectableFields(object) {
    const stored = typed<StoredEvent>(rename(object, 'v1', 1));
    const target = stored.involvedObject ?? {};
    return {
      'regarding.kind': field(target.kind),
      'regarding.namespace': field(target.namespace),
      'regarding.name': field(target.name),
      'regarding.uid': field(target.uid),
      'regarding.apiVersion': field(target.apiVersion),
      'regarding.resourceVersion': field(target.resourceVersion),
      'regarding.fieldPath': field(target.fieldPath),
      reportingController: field(stored.reportingComponent),
      reason: field(stored.reason),
      type: field(stored.type),
    };
  },
};
