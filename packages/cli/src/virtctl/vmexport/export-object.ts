import { type kubevirt, SecretKind, VirtualMachineExportKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { ActionContext } from '../context.ts';
import { CommandFailure, print } from '../io.ts';
import { formatDuration, parseDuration } from '../go-duration.ts';

export interface SourceFlags {
  readonly vm?: string;
  readonly snapshot?: string;
  readonly pvc?: string;
  readonly ttl?: string;
  readonly labels?: readonly string[];
  readonly annotations?: readonly string[];
}

const TOKEN_LENGTH = 20;
const POLL_MS = 2_000;

/** What is exported; undefined when no flag names anything. Throws CommandFailure for more than one. */
export function sourceOf({ vm, snapshot, pvc }: SourceFlags): kubevirt.VirtualMachineExport['spec']['source'] | undefined {
  const given = [
    ...(vm === undefined ? [] : [{ apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: vm }]),
    ...(snapshot === undefined ? [] : [{ apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: snapshot }]),
    ...(pvc === undefined ? [] : [{ apiGroup: '', kind: 'PersistentVolumeClaim', name: pvc }]),
  ];
  if (given.length > 1) throw new CommandFailure('if any flags in the group [vm snapshot pvc] are set none of the others can be');
  return given[0];
}

/** Makes the export and the secret with its token. Returns false when there is one of that name already. */
export async function createExport(context: ActionContext, name: string, flags: SourceFlags): Promise<boolean> {
  const { client, namespace, io } = context;
  const source = sourceOf(flags);
  if (source === undefined) throw new CommandFailure('at least one of the flags in the group [vm snapshot pvc] is required');
  if ((await findExport(context, name)) !== undefined) return false;
  const secretName = `secret-${name}`;
  const created = await client.create(VirtualMachineExportKind, {
    apiVersion: `${VirtualMachineExportKind.group}/${VirtualMachineExportKind.version}`,
    kind: VirtualMachineExportKind.kind,
    metadata: {
      name,
      namespace,
      ...(flags.labels !== undefined && { labels: pairs('labels', flags.labels) }),
      ...(flags.annotations !== undefined && { annotations: pairs('annotations', flags.annotations) }),
    },
    spec: {
      source,
      tokenSecretRef: secretName,
      ...(flags.ttl !== undefined && { ttlDuration: formatDuration(parseDuration('ttl', flags.ttl)) }),
    },
  });
  const { apiVersion, kind, uid = '' } = { ...created, ...created.metadata };
  await client.create(SecretKind, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: secretName,
      namespace,
      // the token goes with the export
      ownerReferences: [{ apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true }],
    },
    type: 'Opaque',
    data: { token: Buffer.from(io.randomName(TOKEN_LENGTH)).toString('base64') },
  });
  print(io, `VirtualMachineExport '${namespace}/${name}' created succesfully`); // KubeVirt-compat: scripts match this spelling
  return true;
}

function pairs(flag: string, texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts
      .flatMap((text) => text.split(','))
      .map((pair): [string, string] => {
        const at = pair.indexOf('=');
        if (at < 1) throw new CommandFailure(`invalid argument "${pair}" for "--${flag}" flag: write key=value`);
        return [pair.slice(0, at), pair.slice(at + 1)];
      }),
  );
}

async function findExport(
  { client, namespace }: ActionContext,
  name: string,
): Promise<kubevirt.VirtualMachineExport | undefined> {
  try {
    return await client.get(VirtualMachineExportKind, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export async function deleteExport({ client, namespace, io }: ActionContext, name: string): Promise<void> {
  try {
    await client.delete(VirtualMachineExportKind, { namespace, name });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return print(io, `VirtualMachineExport '${namespace}/${name}' does not exist`);
  }
  print(io, `VirtualMachineExport '${namespace}/${name}' deleted succesfully`); // KubeVirt-compat: the spelling
}

/** Polls until the export can be downloaded. Throws CommandFailure when it cannot be, or not in time. */
export async function waitUntilReady(
  context: ActionContext,
  name: string,
  timeoutMs: number,
): Promise<kubevirt.VirtualMachineExport> {
  const { namespace, io } = context;
  const deadline = io.now() + timeoutMs;
  for (;;) {
    const found = await findExport(context, name);
    const where = `VirtualMachineExport '${namespace}/${name}'`;
    if (found === undefined) throw new CommandFailure(`unable to get ${where}: name the source with --vm, --snapshot or --pvc`);
    const { phase, conditions = [] } = found.status ?? {};
    if (phase === 'Ready') return found;
    if (phase === 'Skipped') throw new CommandFailure(`${where} has nothing to download: its source has no volumes`);
    if (phase === 'Terminated') throw new CommandFailure(`${where} has ended: delete it and export again`);
    if (io.now() >= deadline) {
      const reason = conditions.flatMap(({ status, message }) => (status === 'False' && message ? [message] : [])).join('; ');
      throw new CommandFailure(
        `waiting for ${where} to be ready timed out: phase ${phase ?? 'Pending'}${reason && `, ${reason}`}`,
      );
    }
    await io.sleep(POLL_MS);
  }
}

/** The token that the links ask for. */
export async function tokenOf(
  { client, namespace }: ActionContext,
  { spec, status }: kubevirt.VirtualMachineExport,
): Promise<string> {
  const name = status?.tokenSecretRef ?? spec.tokenSecretRef;
  if (name === undefined) throw new CommandFailure('the export names no token secret yet: try again');
  const { data } = await client.get(SecretKind, { namespace, name });
  const token = data?.['token'];
  if (token === undefined) throw new CommandFailure(`secret ${name} has no key "token"`);
  return Buffer.from(token, 'base64').toString();
}
