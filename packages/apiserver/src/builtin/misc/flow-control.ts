import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn } from '../define.ts';

/** The older version calls the shares of a priority level by another name. */
function renameShares(object: UnstructuredObject, version: string, from: string, to: string): UnstructuredObject {
  object.apiVersion = `flowcontrol.apiserver.k8s.io/${version}`;
  const spec = object['spec'] as { limited?: Record<string, unknown> } | undefined; // decoded by the schema
  if (spec?.limited !== undefined && from in spec.limited) {
    spec.limited[to] = spec.limited[from];
    delete spec.limited[from];
  }
  return object;
}

const partOf = (parent: unknown, name: string): Record<string, unknown> =>
  isObject(parent) && isObject(parent[name]) ? parent[name] : {};
const shown = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '<none>');
const limitedOf = ({ spec }: UnstructuredObject): Record<string, unknown> => partOf(spec, 'limited');
const queuingOf = (object: UnstructuredObject): Record<string, unknown> =>
  partOf(partOf(limitedOf(object), 'limitResponse'), 'queuing');

/** Whether the level a schema names is missing, as far as somebody has looked. */
function missingLevel(status: unknown): string {
  const conditions = isObject(status) && Array.isArray(status['conditions']) ? status['conditions'].filter(isObject) : [];
  const dangling = conditions.find(({ type }) => type === 'Dangling');
  return dangling === undefined ? '?' : shown(dangling['status']);
}

/** How requests share the server. */
export const flowControlKinds = (['v1beta3', 'v1beta2'] as const).flatMap((version): BuiltinKind[] => [
  {
    group: 'flowcontrol.apiserver.k8s.io',
    version,
    kind: 'FlowSchema',
    plural: 'flowschemas',
    definition: `flowcontrol.${version}.FlowSchema`,
    storageVersion: 'v1beta3',
    cluster: true,
    status: true,
    strategy: { hasGeneration: true },
    columns: [
      nameColumn,
      column('PriorityLevel', ({ spec }) => shown(partOf(spec, 'priorityLevelConfiguration')['name'])),
      column('MatchingPrecedence', ({ spec }) => Number(isObject(spec) ? spec['matchingPrecedence'] : 0), { type: 'integer' }),
      column('DistinguisherMethod', ({ spec }) => shown(partOf(spec, 'distinguisherMethod')['type'])),
      ageColumn,
      column('MissingPL', ({ status }) => missingLevel(status)),
    ],
  },
  {
    group: 'flowcontrol.apiserver.k8s.io',
    version,
    kind: 'PriorityLevelConfiguration',
    plural: 'prioritylevelconfigurations',
    definition: `flowcontrol.${version}.PriorityLevelConfiguration`,
    storageVersion: 'v1beta3',
    ...(version === 'v1beta2' && {
      fromStorage: (object) => renameShares(object, 'v1beta2', 'nominalConcurrencyShares', 'assuredConcurrencyShares'),
      toStorage: (object) => renameShares(object, 'v1beta3', 'assuredConcurrencyShares', 'nominalConcurrencyShares'),
    }),
    cluster: true,
    status: true,
    strategy: { hasGeneration: true },
    columns: [
      nameColumn,
      column('Type', ({ spec }) => shown(isObject(spec) ? spec['type'] : undefined)),
      column(version === 'v1beta3' ? 'NominalConcurrencyShares' : 'AssuredConcurrencyShares', (object) => {
        const { nominalConcurrencyShares, assuredConcurrencyShares } = limitedOf(object);
        return shown(nominalConcurrencyShares ?? assuredConcurrencyShares);
      }),
      column('Queues', (object) => shown(queuingOf(object)['queues'])),
      column('HandSize', (object) => shown(queuingOf(object)['handSize'])),
      column('QueueLengthLimit', (object) => shown(queuingOf(object)['queueLengthLimit'])),
      ageColumn,
    ],
  },
]);
