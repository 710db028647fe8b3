import type { kubevirt } from '@slipway/api';
import type { CredentialAgent } from '../access-credentials/index.ts';
import { type AgentProblem, type GuestInterface, type GuestAgent as GuestAgentCalls, guestAgent } from '../guest-agent/index.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';

export interface GuestReport {
  readonly os: kubevirt.VirtualMachineInstanceGuestOSInfo;
  readonly interfaces: readonly { readonly name: string; readonly mac: string; readonly ipAddresses: readonly string[] }[];
}

const MAX_PROBLEMS = 8;
const API_VERSION = 'subresources.kubevirt.io/v1';

/** What the status and the subresources show of one guest; what the guest says is bounded and checked beneath. */
export class GuestAgent {
  private readonly calls: GuestAgentCalls;
  private readonly heard: AgentProblem[] = [];

  constructor(libvirt: Pick<LibvirtConnection, 'agentCommand'>, domain: DomainRef) {
    this.calls = guestAgent(libvirt, domain, (problem) => this.heard.length < MAX_PROBLEMS && this.heard.push(problem));
  }

  /** How the answers so far have gone beyond what is read. */
  get problems(): readonly AgentProblem[] {
    return this.heard;
  }

  /** The commands that set keys and passwords. */
  get credentials(): CredentialAgent {
    return this.calls;
  }

  /** What the status shows of the guest. Rejects when the agent does not answer. */
  async report(): Promise<GuestReport> {
    const interfaces = await this.calls.interfaces();
    return { os: await this.calls.osInfo().catch(() => ({})), interfaces: interfaces.map(withName) };
  }

  /** Object of the `guestosinfo` subresource. */
  async info(): Promise<kubevirt.VirtualMachineInstanceGuestAgentInfo> {
    return { apiVersion: API_VERSION, kind: 'VirtualMachineInstanceGuestAgentInfo', ...(await this.calls.summary()) };
  }

  /** Object of the `userlist` subresource. */
  async users(): Promise<kubevirt.VirtualMachineInstanceGuestOSUserList> {
    const items = await this.calls.users().catch(() => []);
    return { apiVersion: API_VERSION, kind: 'VirtualMachineInstanceGuestOSUserList', metadata: {}, items };
  }

  /** Load averages; undefined when the agent does not know the command. */
  load(): Promise<readonly number[] | undefined> {
    return this.calls.load().catch(() => undefined);
  }

  /** Object of the `filesystemlist` subresource. */
  async fileSystems(): Promise<kubevirt.VirtualMachineInstanceFileSystemList> {
    const items = await this.calls.fileSystems().catch(() => []);
    return { apiVersion: API_VERSION, kind: 'VirtualMachineInstanceFileSystemList', metadata: {}, items };
  }
}

const withName = ({ interfaceName, mac, ipAddresses }: GuestInterface) => ({ name: interfaceName, mac, ipAddresses });
