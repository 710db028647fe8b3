import { readFile } from 'node:fs/promises';
import { type kubevirt, SecretKind, type VirtualMachine, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { JsonPatchOperation } from '@slipway/client';
import type { Command } from 'commander';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';

interface CredentialFlags {
  readonly user?: string;
  readonly secret?: string;
  readonly file?: string;
  readonly value?: string;
  readonly password?: string;
  readonly createSecret?: boolean;
  readonly updateSecret?: boolean;
  readonly force?: boolean;
}

const secretOptions = (command: Command): Command =>
  command
    .option('-u, --user <string>', 'user of the guest (required)')
    .option('--secret <string>', 'secret to write into; without it: one that the VM uses for this user already')
    .option('--create-secret', 'make a new secret')
    .option('--update-secret', 'write into a secret that does not belong to the VM')
    .option('--force', 'change a running VM too; a new secret takes effect after a restart');

const keyOptions = (command: Command): Command =>
  secretOptions(command)
    .option('-f, --file <string>', 'file with the public key')
    .option('--value <string>', 'the public key itself');

/** credentials add-ssh-key, remove-ssh-key and set-password: what the guest agent gives to users of the guest. */
export function addCredentialCommands(host: CommandHost): void {
  const group = {
    ...host,
    program: host.program.command('credentials').description('Change SSH keys and passwords of a guest.'),
  };
  addCommand<CredentialFlags>(group, {
    usage: 'add-ssh-key <vm>',
    description: 'Let an SSH key log in as a user of the guest.',
    options: keyOptions,
    run: async (context, [name = ''], flags) => {
      const [user, key] = [userOf(flags), await keyOf(flags)];
      const vm = await getVm(context, name);
      const entry = { [`ssh-key-${context.io.randomName(6)}`]: key };
      const secret = await store(context, vm, flags, entry, {
        used: secretsFor(vm, 'sshPublicKey', user),
        credential: (secretName) => ({
          sshPublicKey: { source: { secret: { secretName } }, propagationMethod: { qemuGuestAgent: { users: [user] } } },
        }),
      });
      print(context.io, `Successfully added SSH key to secret "${secret}"`);
    },
  });
  addCommand<CredentialFlags>(group, {
    usage: 'remove-ssh-key <vm>',
    description: 'Take an SSH key away from a user of the guest.',
    options: keyOptions,
    run: removeKey,
  });
  addCommand<CredentialFlags>(group, {
    usage: 'set-password <vm>',
    description: 'Set the password of a user of the guest.',
    options: (command) => secretOptions(command).option('-p, --password <string>', 'the password (required)'),
    run: async (context, [name = ''], flags) => {
      const user = userOf(flags);
      if (flags.password === undefined) throw new CommandFailure('required flag(s) "password" not set');
      const vm = await getVm(context, name);
      const secret = await store(
        context,
        vm,
        flags,
        { [user]: flags.password },
        {
          used: secretsFor(vm, 'userPassword'),
          credential: (secretName) => ({
            userPassword: { source: { secret: { secretName } }, propagationMethod: { qemuGuestAgent: {} } },
          }),
        },
      );
      context.io.stdout.write(`Successfully set password in secret "${secret}"`);
    },
  });
}

function userOf({ user }: CredentialFlags): string {
  if (user === undefined || user === '') throw new CommandFailure('required flag(s) "user" not set');
  return user;
}

async function keyOf({ file, value }: CredentialFlags): Promise<string> {
  if ((file === undefined) === (value === undefined)) throw new CommandFailure('exactly one of --file and --value must be given');
  return (value ?? (await readFile(file ?? '', 'utf8'))).trim();
}

const getVm = ({ client, namespace }: ActionContext, name: string): Promise<VirtualMachine> =>
  client.get(VirtualMachineKind, { namespace, name });

const credentialsOf = (vm: VirtualMachine): readonly kubevirt.AccessCredential[] =>
  vm.spec.template.spec?.accessCredentials ?? [];

/** Secrets that the guest agent applies: all of passwords, those for `user` of SSH keys. */
function secretsFor(vm: VirtualMachine, kind: 'sshPublicKey' | 'userPassword', user?: string): string[] {
  return credentialsOf(vm).flatMap(({ sshPublicKey, userPassword }) => {
    if (kind === 'userPassword')
      return userPassword?.propagationMethod.qemuGuestAgent === undefined ? [] : (userPassword.source.secret?.secretName ?? []);
    const isForUser = sshPublicKey?.propagationMethod.qemuGuestAgent?.users.includes(user ?? '') === true;
    return isForUser ? (sshPublicKey.source.secret?.secretName ?? []) : [];
  });
}

interface Storing {
  /** Secrets that the VM uses for this already. */
  readonly used: readonly string[];
  /** What the VM needs to use another one. */
  readonly credential: (secretName: string) => kubevirt.AccessCredential;
}

/** Writes `data` into a secret and makes the VM use it; returns the secret's name. */
async function store(
  context: ActionContext,
  vm: VirtualMachine,
  flags: CredentialFlags,
  data: Readonly<Record<string, string>>,
  { used, credential }: Storing,
): Promise<string> {
  const { client, namespace, io } = context;
  const existing = flags.createSecret === true ? undefined : (flags.secret ?? used[0]);
  const name = existing ?? flags.secret ?? `${vm.metadata.name}-credentials-${io.randomName(6)}`;
  if (!used.includes(name) && flags.force !== true) await assertStopped(context, vm);
  if (existing === undefined) {
    const { uid = '' } = vm.metadata;
    const owner = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: vm.metadata.name ?? '', uid };
    await client.create(SecretKind, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, ownerReferences: [owner] },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, encode(text)])),
    });
  } else {
    if (flags.secret !== undefined && flags.updateSecret !== true) await assertOwned(context, vm, name);
    const patch = Object.entries(data).map(
      ([key, text]): JsonPatchOperation => ({
        op: 'add',
        path: `/data/${pointer(key)}`,
        value: encode(text),
      }),
    );
    await client.patch(SecretKind, { namespace, name }, patch, { type: 'json' });
  }
  if (!used.includes(name)) await use(context, vm, credential(name));
  return name;
}

async function use(
  { client, namespace }: ActionContext,
  vm: VirtualMachine,
  credential: kubevirt.AccessCredential,
): Promise<void> {
  const path = '/spec/template/spec/accessCredentials';
  const patch: JsonPatchOperation[] =
    vm.spec.template.spec?.accessCredentials === undefined
      ? [{ op: 'add', path, value: [credential] }]
      : [{ op: 'add', path: `${path}/-`, value: credential }];
  await client.patch(VirtualMachineKind, { namespace, name: vm.metadata.name ?? '' }, patch, { type: 'json' });
}

/** Another secret is seen by the guest after a restart only; the user must know. */
async function assertStopped({ client, namespace }: ActionContext, vm: VirtualMachine): Promise<void> {
  const name = vm.metadata.name ?? '';
  try {
    await client.get(VirtualMachineInstanceKind, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
  throw new CommandFailure(
    `virtual machine ${name} is running. Use --force flag to update a running VM, it will take effect after restart`,
  );
}

async function assertOwned({ client, namespace }: ActionContext, vm: VirtualMachine, name: string): Promise<void> {
  const secret = await client.get(SecretKind, { namespace, name });
  const isOwned = (secret.metadata.ownerReferences ?? []).some(({ uid }) => uid === vm.metadata.uid);
  if (!isOwned)
    throw new CommandFailure(
      `secret ${name} does not belong to VM ${vm.metadata.name}; use --update-secret if others may share the change`,
    );
}

async function removeKey(context: ActionContext, [name = '']: readonly string[], flags: CredentialFlags): Promise<void> {
  const { client, namespace, io } = context;
  const [user, key] = [userOf(flags), await keyOf(flags)];
  const vm = await getVm(context, name);
  const secrets = flags.secret === undefined ? secretsFor(vm, 'sshPublicKey', user) : [flags.secret];
  if (secrets.length === 0) io.stdout.write(`No secrets associated with user ${user}`);
  for (const secretName of secrets) {
    const { data = {} } = await client.get(SecretKind, { namespace, name: secretName });
    const matching = Object.entries(data).flatMap(([entry, encoded]) =>
      Buffer.from(encoded, 'base64').toString().trim() === key ? [entry] : [],
    );
    if (matching.length === 0) continue;
    if (flags.updateSecret !== true) await assertOwned(context, vm, secretName);
    const patch = matching.flatMap((entry): JsonPatchOperation[] => [
      // nobody may have put another key there meanwhile
      { op: 'test', path: `/data/${pointer(entry)}`, value: data[entry] },
      { op: 'remove', path: `/data/${pointer(entry)}` },
    ]);
    await client.patch(SecretKind, { namespace, name: secretName }, patch, { type: 'json' });
    print(io, `Successfully removed SSH key from secret "${secretName}"`);
  }
}

const encode = (text: string): string => Buffer.from(text).toString('base64');
/** A key as part of a JSON pointer. */
const pointer = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');
