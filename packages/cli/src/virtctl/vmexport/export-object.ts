import { type kubevirt, SecretKind, VirtualMachineExportKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { ActionContext } from '../context.ts';
import { CommandFailure, print } from '../io.ts';
import { formatDuration, parseDuration } from '../go-duration.ts';
import type { SourceFlags } from './vmexport-flags.ts';

/** Where progress is told: stdout, or stderr when the download itself goes to stdout. */
export type Tell = (line: string) => void;

const TOKEN_LENGTH = 20;
const POLL_MS = 2_000;

/** What is exported; undefined when no flag names anything. */
export function sourceOf({
  vm,
  snapshot,
  pvc,
  vmtemplate,
}: SourceFlags): kubevirt.VirtualMachineExport['spec']['source'] | undefined {
  if (vm !== undefined) return { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: vm };
  if (snapshot !== undefined) return { apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: snapshot };
  if (pvc !== undefined) return { apiGroup: '', kind: 'PersistentVolumeClaim', name: pvc };
  return vmtemplate === undefined
    ? undefined
    : { apiGroup: 'template.kubevirt.io', kind: 'VirtualMachineTemplate', name: vmtemplate };
}

/** Makes the export and the secret with its token. Returns false when there is one of that name already. */
export async function createExport(
  context: ActionContext,
  name: string,
  flags: SourceFlags,
  tell: Tell = (line) => print(context.io, line),
): Promise<boolean> {
  const { client, namespace, io } = context;
  const source = sourceOf(flags);
  if (source === undefined) throw new CommandFailure('should specify what to export');
  if ((await findExport(context, name)) !== undefined) return false;
  const secretName = `secret-${name}`;
  const created = await client.create(VirtualMachineExportKind, {
    apiVersion: `${VirtualMachineExportKind.group}/${VirtualMachineExportKind.version}`,
    kind: VirtualMachineExportKind.kind,
    metadata: {
      name,
      namespace,
      ...(flags.labels !== undefined && { labels: pairs(flags.labels) }),
      ...(flags.annotations !== undefined && { annotations: pairs(flags.annotations) }),
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
  tell(`VirtualMachineExport '${namespace}/${name}' created succesfully`); // KubeVirt-compat: scripts match this spelling
  return true;
}

/** KubeVirt-compat: what is no key=value is left out. */
function pairs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.flatMap((pair): [string, string][] => {
      const at = pair.indexOf('=');
      return at < 0 ? [] : [[pair.slice(0, at), pair.slice(at + 1)]];
    }),
  );
}

export async function findExport(
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

export async function deleteExport(
  { client, namespace, io }: ActionContext,
  name: string,
  tell: Tell = (line) => print(io, line),
): Promise<void> {
  try {
    await client.delete(VirtualMachineExportKind, { namespace, name });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return tell(`VirtualMachineExport '${namespace}/${name}' does not exist`);
  }
  tell(`VirtualMachineExport '${namespace}/${name}' deleted succesfully`); // KubeVirt-compat: the spelling
}

/** Polls until the export can be downloaded. Throws CommandFailure when it cannot be, or not in time. */
export async function waitUntilReady(
  context: ActionContext,
  name: string,
  { timeoutMs, links, tell }: { readonly timeoutMs: number; readonly links: 'internal' | 'external'; readonly tell: Tell },
): Promise<kubevirt.VirtualMachineExport> {
  const { namespace, io } = context;
  const deadline = io.now() + timeoutMs;
  for (;;) {
    const found = await findExport(context, name);
    const where = `VirtualMachineExport '${namespace}/${name}'`;
    if (found === undefined) throw new CommandFailure(`unable to get ${where}: name the source with --vm, --snapshot or --pvc`);
    if (isReachable(found, links)) return found;
    const { phase } = found.status ?? {};
    if (phase === 'Skipped') throw new CommandFailure(`${where} has nothing to download: its source has no volumes`);
    if (phase === 'Terminated') throw new CommandFailure(`${where} has ended: delete it and export again`);
    if (io.now() >= deadline) throw new CommandFailure(`waiting for ${where} to be ready timed out: ${whyNotReady(found)}`);
    const missing = phase === 'Ready' ? `${links} links to be available` : 'status to be ready';
    tell(`waiting for VM Export ${name} ${missing}...`);
    await io.sleep(POLL_MS);
  }
}

function isReachable({ status }: kubevirt.VirtualMachineExport, links: 'internal' | 'external'): boolean {
  const { phase, links: offered } = status ?? {};
  return phase === 'Ready' && (offered?.[links] ?? offered?.internal) !== undefined;
}

function whyNotReady({ status }: kubevirt.VirtualMachineExport): string {
  const { phase = 'Pending', conditions = [] } = status ?? {};
  const reasons = conditions.flatMap((condition) => (condition.status === 'False' ? (condition.message ?? []) : []));
  return [`phase ${phase}`, reasons.join('; ')].filter(Boolean).join(', ');
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
