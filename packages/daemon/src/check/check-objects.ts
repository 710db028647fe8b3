import { NamespaceKind, type VirtualMachine } from '@slipway/api';
import { ignoreAlreadyExists, isObject, type KubeObject, type ResourceKind, StatusError } from '@slipway/apimachinery';
import { type Client, discoverKinds } from '@slipway/client';
import { expandVm, resolveTypes } from '@slipway/controllers';
import { clusterConfig } from '@slipway/virt';
import type { PlannedMachine } from './capacity.ts';
import { describeObject, type Finding, type LocatedObject } from './located.ts';

/** Kinds that others need, in the order in which they are created. */
const FIRST = [
  'Namespace',
  'CustomResourceDefinition',
  'StorageClass',
  'VirtualMachineClusterInstancetype',
  'VirtualMachineInstancetype',
  'VirtualMachineClusterPreference',
  'VirtualMachinePreference',
];
const GROUP = /^([^/]*)\//;

export interface Checked {
  readonly findings: readonly Finding[];
  /** Machines that were accepted. */
  readonly machines: readonly PlannedMachine[];
}

/** Creates the objects in an empty cluster, and says what it objects to. */
export async function checkObjects(client: Client, objects: readonly LocatedObject[], signal: AbortSignal): Promise<Checked> {
  const findings: Finding[] = [];
  const machines: PlannedMachine[] = [];
  const rank = ({ object }: LocatedObject): number => {
    const index = FIRST.indexOf(object.kind ?? '');
    return index < 0 ? FIRST.length : index;
  };
  let kinds = await discoverKinds(client, signal);
  for (const located of [...objects].sort((a, b) => rank(a) - rank(b))) {
    const { object } = located;
    let kind = kindOf(kinds, object);
    // it may be one that came with a definition before it
    if (kind === undefined) kind = kindOf((kinds = await discoverKinds(client, signal)), object);
    if (kind === undefined) {
      findings.push(finding(located, 'kind', `no kind "${object.kind}" in version "${object.apiVersion}"`));
      continue;
    }
    const { complaints, created } = await tryCreate(client, kind, located, signal);
    findings.push(...complaints);
    if (created !== undefined && kind.group === 'kubevirt.io' && kind.kind === 'VirtualMachine')
      machines.push({ located, vm: await expanded(client, created as VirtualMachine, signal) });
  }
  return { findings, machines };
}

function kindOf(
  kinds: readonly ResourceKind<KubeObject>[],
  { apiVersion, kind }: KubeObject,
): ResourceKind<KubeObject> | undefined {
  const group = GROUP.exec(apiVersion)?.[1] ?? '';
  const version = apiVersion.slice(group === '' ? 0 : group.length + 1);
  const found = kinds.find((one) => one.group === group && one.kind === kind);
  return found && { ...found, version };
}

const finding = (located: LocatedObject, field: string | undefined, message: string): Finding => ({
  ...{ severity: 'error', file: located.file, document: located.document, line: located.lineOf(field ?? '') },
  ...{ object: describeObject(located.object), message },
  ...(field && { field }),
});

interface Tried {
  readonly complaints: readonly Finding[];
  readonly created?: KubeObject;
}

/** Unknown fields hide nothing else: without them the object is tried again. */
async function tryCreate(
  client: Client,
  kind: ResourceKind<KubeObject>,
  located: LocatedObject,
  signal: AbortSignal,
): Promise<Tried> {
  const object = kind.namespaced
    ? { ...located.object, metadata: { ...located.object.metadata, namespace: located.object.metadata.namespace ?? 'default' } }
    : located.object;
  if (kind.namespaced) await ensureNamespace(client, object.metadata.namespace ?? 'default', signal);
  const strict = unknownFields(located, await refusal(client, kind, object, 'Strict', signal));
  try {
    return { complaints: strict, created: await client.create(kind, object, { fieldValidation: 'Ignore', signal }) };
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    return { complaints: [...strict, ...complaintsOf(located, error)] };
  }
}

async function refusal(
  client: Client,
  kind: ResourceKind<KubeObject>,
  object: KubeObject,
  fieldValidation: 'Strict',
  signal: AbortSignal,
): Promise<StatusError | undefined> {
  try {
    await client.create(kind, object, { fieldValidation, dryRun: true, signal });
    return undefined;
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
}

function unknownFields(located: LocatedObject, error: StatusError | undefined): Finding[] {
  if (error === undefined || !error.message.includes('strict decoding error')) return [];
  const found = [...error.message.matchAll(/(unknown field|duplicate field) "([^"]+)"/g)];
  if (found.length === 0) return [finding(located, undefined, error.message)];
  return found.map(([, what = '', field = '']) => finding(located, field, what));
}

function complaintsOf(located: LocatedObject, error: StatusError): Finding[] {
  const causes: unknown = error.status.details?.causes;
  const list = Array.isArray(causes) ? causes.filter(isObject) : [];
  if (list.length === 0) return [finding(located, undefined, error.message)];
  return list.map(({ field, message }) =>
    finding(
      located,
      typeof field === 'string' && field !== '' ? field : undefined,
      typeof message === 'string' ? message : error.message,
    ),
  );
}

async function ensureNamespace(client: Client, name: string, signal: AbortSignal): Promise<void> {
  await client
    .create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, { signal })
    .catch(ignoreAlreadyExists);
}

/** With the sizes of its instance type; as it is when that is nowhere. */
async function expanded(client: Client, vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachine> {
  try {
    return expandVm(vm, clusterConfig(), await resolveTypes(client, vm, signal));
  } catch (error) {
    if (error instanceof StatusError || error instanceof Error) return vm;
    throw error;
  }
}
