import type { kubevirt } from '@slipway/api';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import {
  type GuestInterface,
  parseAgentInfo,
  parseFileSystems,
  parseHostname,
  parseInterfaces,
  parseLoad,
  parseOsInfo,
  parseTimezone,
  parseUsers,
} from './answers.ts';
import { type AgentProblem, answerProblem, failureProblem, listProblem } from './agent-problem.ts';
import { present, readAnswer } from './bounded.ts';

const TIMEOUT_SECONDS = 5;

/** Asks the guest's agent through libvirt. A guest that answers nonsense gives empty results; one that is silent rejects. */
export interface GuestAgent {
  ping(): Promise<void>;
  osInfo(): Promise<kubevirt.VirtualMachineInstanceGuestOSInfo>;
  interfaces(): Promise<readonly GuestInterface[]>;
  fileSystems(): Promise<kubevirt.VirtualMachineInstanceFileSystem[]>;
  users(): Promise<kubevirt.VirtualMachineInstanceGuestOSUser[]>;
  /** Load averages of the last 1, 5 and 15 minutes; agents before 9.2 and those of Windows do not have them. */
  load(): Promise<readonly number[] | undefined>;
  frozen(): Promise<boolean>;
  /** Replaces the keys with which a user may log in; rejects when the guest refuses. */
  setAuthorizedKeys(user: string, keys: readonly string[]): Promise<void>;
  /** Rejects when the guest refuses. */
  setPassword(user: string, password: string): Promise<void>;
  /** Everything at once, as `guestosinfo` answers it. */
  summary(): Promise<kubevirt.VirtualMachineInstanceGuestAgentInfo>;
}

/** `onProblem` hears of each answer that goes beyond what is read. */
export function guestAgent(
  connection: Pick<LibvirtConnection, 'agentCommand'>,
  domain: DomainRef,
  onProblem: (problem: AgentProblem) => void = () => {},
): GuestAgent {
  const hear = (problem: AgentProblem | undefined): void => {
    if (problem !== undefined) onProblem(problem);
  };
  const ask = async (command: string): Promise<unknown> => {
    const line = JSON.stringify({ execute: command });
    const answer = await connection.agentCommand(domain, line, TIMEOUT_SECONDS).catch((error: unknown) => {
      hear(failureProblem(command, error));
      throw error;
    });
    const read = readAnswer(answer);
    hear('problem' in read ? answerProblem(command, read.problem) : listProblem(command, read.value));
    return 'value' in read ? read.value : undefined;
  };
  /** For commands that some agents do not have. */
  const tryAsk = (command: string): Promise<unknown> => ask(command).catch(() => undefined);
  const tell = async (execute: string, args: object): Promise<void> => {
    await connection.agentCommand(domain, JSON.stringify({ execute, arguments: args }), TIMEOUT_SECONDS);
  };
  const agent: GuestAgent = {
    setAuthorizedKeys: (username, keys) => tell('guest-ssh-add-authorized-keys', { username, keys, reset: true }),
    setPassword: (username, password) =>
      tell('guest-set-user-password', { username, password: Buffer.from(password).toString('base64'), crypted: false }),
    async ping() {
      await ask('guest-ping');
    },
    osInfo: async () => parseOsInfo(await ask('guest-get-osinfo')),
    interfaces: async () => parseInterfaces(await ask('guest-network-get-interfaces')),
    fileSystems: async () => parseFileSystems(await ask('guest-get-fsinfo')),
    users: async () => parseUsers(await ask('guest-get-users')),
    load: async () => parseLoad(await ask('guest-get-load')),
    frozen: async () => (await ask('guest-fsfreeze-status')) === 'frozen',
    async summary() {
      const info = parseAgentInfo(await ask('guest-info'));
      const [os, hostname, timezone, users, disks, freeze] = [
        parseOsInfo(await tryAsk('guest-get-osinfo')),
        parseHostname(await tryAsk('guest-get-host-name')),
        parseTimezone(await tryAsk('guest-get-timezone')),
        parseUsers(await tryAsk('guest-get-users')),
        parseFileSystems(await tryAsk('guest-get-fsinfo')),
        await tryAsk('guest-fsfreeze-status'),
      ];
      return {
        guestAgentVersion: info.version,
        supportedCommands: info.supportedCommands,
        os,
        ...present<{ hostname?: string; timezone?: string; fsFreezeStatus?: string }>({
          hostname,
          timezone,
          fsFreezeStatus: freeze === 'frozen' ? 'frozen' : undefined,
        }),
        ...(users.length > 0 && { userList: users }),
        ...(disks.length > 0 && { fsInfo: { disks } }),
      };
    },
  };
  return agent;
}
