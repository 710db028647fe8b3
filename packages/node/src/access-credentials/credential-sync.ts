import { createHash } from 'node:crypto';
import { SecretKind, type VirtualMachineInstance } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { text } from '../guest-agent/bounded.ts';
import { agentSecretNames, type CredentialPlan, planCredentials, type SecretText } from './plan-credentials.ts';

/** The commands of the guest's agent that set credentials; they reject when the agent refuses. */
export interface CredentialAgent {
  setAuthorizedKeys(user: string, keys: readonly string[]): Promise<void>;
  setPassword(user: string, password: string): Promise<void>;
}

export interface CredentialOutcome {
  readonly isSynchronized: boolean;
  /** Why not; names users, never what they were given. */
  readonly message: string;
}

/** Brings keys and passwords of one guest up to date, and again when a secret changes. */
export class CredentialSync {
  private readonly client: Client;
  private applied = '';

  constructor(client: Client) {
    this.client = client;
  }

  /** Undefined when there is nothing to do. */
  async sync(vmi: VirtualMachineInstance, agent: CredentialAgent, signal: AbortSignal): Promise<CredentialOutcome | undefined> {
    const { accessCredentials } = vmi.spec;
    const names = agentSecretNames(accessCredentials);
    if (names.length === 0) return undefined;
    const secrets = new Map<string, SecretText>();
    for (const name of names) {
      const secret = await this.secretText(vmi.metadata.namespace ?? '', name, signal);
      if (secret === undefined) return { isSynchronized: false, message: `Secret ${name} does not exist` };
      secrets.set(name, secret);
    }
    const plan = planCredentials(accessCredentials, (name) => secrets.get(name));
    const digest = digestOf(plan);
    if (digest === this.applied) return undefined;
    const message = await apply(plan, agent);
    // a refusal is tried again at the next look
    this.applied = message === '' ? digest : '';
    return { isSynchronized: message === '', message };
  }

  private async secretText(namespace: string, name: string, signal: AbortSignal): Promise<SecretText | undefined> {
    try {
      const { data = {} } = await this.client.get(SecretKind, { namespace, name }, { signal });
      return Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(String(value), 'base64').toString('utf8')]),
      );
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}

/** The first refusal, or an empty text. */
async function apply({ keys, passwords }: CredentialPlan, agent: CredentialAgent): Promise<string> {
  const steps: readonly (readonly [what: string, run: () => Promise<void>])[] = [
    ...[...keys].map(([user, lines]) => [`keys of ${user}`, () => agent.setAuthorizedKeys(user, lines)] as const),
    ...[...passwords].map(
      ([user, password]) => [`password of ${user}`, () => agent.setPassword(user, password.trimEnd())] as const,
    ),
  ];
  for (const [what, run] of steps) {
    try {
      await run();
    } catch (error) {
      // the guest has its say in this text
      const why = text(error instanceof Error ? error.message : String(error)) ?? 'no reason given';
      return `Cannot set the ${what}: ${why}`;
    }
  }
  return '';
}

/** A digest, so that no secret stays in memory longer than it is used. */
function digestOf({ keys, passwords }: CredentialPlan): string {
  return createHash('sha256')
    .update(JSON.stringify([[...keys], [...passwords]]))
    .digest('hex');
}
