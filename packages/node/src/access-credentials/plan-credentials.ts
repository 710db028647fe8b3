import type { kubevirt } from '@slipway/api';

type Credential = kubevirt.AccessCredential;

/** What the guest's agent is to set: per user, all of the user's keys, or a password. */
export interface CredentialPlan {
  readonly keys: ReadonlyMap<string, readonly string[]>;
  readonly passwords: ReadonlyMap<string, string>;
}

/** Data of a secret, decoded. */
export type SecretText = Readonly<Record<string, string>>;

/** Names of the secrets whose content goes to the guest through its agent. */
export function agentSecretNames(credentials: readonly Credential[] | undefined): readonly string[] {
  const names = (credentials ?? []).flatMap(({ sshPublicKey, userPassword }) => {
    const used = sshPublicKey?.propagationMethod.qemuGuestAgent ? sshPublicKey : undefined;
    const name = (used ?? (userPassword?.propagationMethod.qemuGuestAgent ? userPassword : undefined))?.source.secret?.secretName;
    return name === undefined ? [] : [name];
  });
  return [...new Set(names)];
}

/** Sums up what the secrets hold; a secret that is not there gives nothing. */
export function planCredentials(
  credentials: readonly Credential[] | undefined,
  secretOf: (name: string) => SecretText | undefined,
): CredentialPlan {
  const keys = new Map<string, string[]>();
  const passwords = new Map<string, string>();
  for (const { sshPublicKey, userPassword } of credentials ?? []) {
    if (sshPublicKey) addKeys(keys, sshPublicKey, secretOf);
    if (!userPassword?.propagationMethod.qemuGuestAgent) continue;
    for (const [user, password] of Object.entries(secretOf(nameOf(userPassword.source)) ?? {})) passwords.set(user, password);
  }
  return { keys, passwords };
}

const nameOf = ({ secret }: { readonly secret?: { readonly secretName: string } }): string => secret?.secretName ?? '';

function addKeys(
  keys: Map<string, string[]>,
  { propagationMethod, source }: kubevirt.SSHPublicKeyAccessCredential,
  secretOf: (name: string) => SecretText | undefined,
): void {
  const lines = Object.values(secretOf(nameOf(source)) ?? {}).flatMap((text) => text.split('\n').map((line) => line.trim()));
  for (const user of propagationMethod.qemuGuestAgent?.users ?? [])
    keys.set(user, [...(keys.get(user) ?? []), ...lines.filter((line) => line !== '')]);
}
