import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { notFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { beforeEach, describe, expect, it } from 'vitest';
import { CredentialSync } from './credential-sync.ts';

let secrets: Record<string, Record<string, string>> = {};
let said: string[] = [];
let refuses = false;

const client: Partial<Client> = {
  get: async (kind, { name }) => {
    const data = secrets[name];
    if (data === undefined) throw notFound({ resource: kind.plural, group: '' }, name);
    const encoded = Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]));
    return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, data: encoded } as never; // a secret
  },
};
const agent = {
  setAuthorizedKeys: async (user: string, keys: readonly string[]) => say(`${user}: ${keys.join(' | ')}`),
  setPassword: async (user: string, password: string) => say(`${user} = ${password}`),
};
async function say(text: string): Promise<void> {
  if (refuses) throw new Error('The command has been disabled');
  said.push(text);
}

const { signal } = new AbortController();
const instance = (...accessCredentials: kubevirt.AccessCredential[]): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { domain: { devices: {} }, accessCredentials },
});
const keys = (secretName: string, ...users: string[]): kubevirt.AccessCredential => ({
  sshPublicKey: { source: { secret: { secretName } }, propagationMethod: { qemuGuestAgent: { users } } },
});
const passwords = (secretName: string): kubevirt.AccessCredential => ({
  userPassword: { source: { secret: { secretName } }, propagationMethod: { qemuGuestAgent: {} } },
});

beforeEach(() => {
  secrets = { one: { a: 'ssh-ed25519 AAA me\n' }, two: { b: 'ssh-rsa BBB\nssh-rsa CCC' }, pass: { root: 'secret\n' } };
  said = [];
  refuses = false;
});

describe('access credentials through the guest agent', () => {
  it('gives each user all of its keys, and each name in a secret its password', async () => {
    const sync = new CredentialSync(client as Client); // gets alone
    const vmi = instance(keys('one', 'root', 'jane'), keys('two', 'root'), passwords('pass'));
    expect(await sync.sync(vmi, agent, signal)).toEqual({ isSynchronized: true, message: '' });
    expect(said).toEqual(['root: ssh-ed25519 AAA me | ssh-rsa BBB | ssh-rsa CCC', 'jane: ssh-ed25519 AAA me', 'root = secret']);
  });

  it('speaks again only when a secret has changed', async () => {
    const sync = new CredentialSync(client as Client); // as above
    const vmi = instance(passwords('pass'));
    await sync.sync(vmi, agent, signal);
    expect(await sync.sync(vmi, agent, signal)).toBeUndefined();
    secrets = { pass: { root: 'other' } };
    expect(await sync.sync(vmi, agent, signal)).toMatchObject({ isSynchronized: true });
    expect(said).toEqual(['root = secret', 'root = other']);
  });

  it('says what is missing or refused without telling the secret, and tries again', async () => {
    const sync = new CredentialSync(client as Client); // as above
    expect(await sync.sync(instance(keys('nowhere', 'root')), agent, signal)).toEqual({
      isSynchronized: false,
      message: 'Secret nowhere does not exist',
    });
    refuses = true;
    const vmi = instance(passwords('pass'));
    const message = 'Cannot set the password of root: The command has been disabled';
    expect(await sync.sync(vmi, agent, signal)).toEqual({ isSynchronized: false, message });
    refuses = false;
    expect(await sync.sync(vmi, agent, signal)).toMatchObject({ isSynchronized: true });
  });

  it('leaves to cloud-init what is meant for it', async () => {
    const seed: kubevirt.AccessCredential = {
      sshPublicKey: { source: { secret: { secretName: 'one' } }, propagationMethod: { noCloud: {} } },
    };
    expect(await new CredentialSync(client as Client).sync(instance(seed), agent, signal)).toBeUndefined(); // as above
  });
});
