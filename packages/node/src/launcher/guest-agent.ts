import type { kubevirt } from '@slipway/api';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';

/** What a guest may make us keep; everything beyond is cut off. */
const LIMIT = { answerBytes: 512 * 1024, interfaces: 64, addresses: 32, users: 256, fileSystems: 256, text: 256 } as const;
const TIMEOUT_SECONDS = 5;

export interface GuestReport {
  readonly os: kubevirt.VirtualMachineInstanceGuestOSInfo;
  readonly interfaces: readonly { readonly name: string; readonly mac: string; readonly ipAddresses: readonly string[] }[];
}

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, LIMIT.text) : '');
const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const objects = (value: unknown, limit: number): Json[] => (Array.isArray(value) ? value.slice(0, limit).filter(isObject) : []);

/** Asks one guest agent; every answer is the word of the guest: checked and bounded. */
export class GuestAgent {
  private readonly libvirt: LibvirtConnection;
  private readonly domain: DomainRef;

  constructor(libvirt: LibvirtConnection, domain: DomainRef) {
    this.libvirt = libvirt;
    this.domain = domain;
  }

  /** What the status shows of the guest. Rejects when the agent does not answer. */
  async report(): Promise<GuestReport> {
    const [os, interfaces] = [
      await this.ask('guest-get-osinfo').catch(() => ({})),
      await this.ask('guest-network-get-interfaces'),
    ];
    return { os: osInfo(os), interfaces: interfaceList(interfaces) };
  }

  /** Object of the `guestosinfo` subresource. */
  async info(): Promise<Json> {
    const [info, host, zone, os] = [
      await this.ask('guest-info'),
      await this.ask('guest-get-host-name').catch(() => ({})),
      await this.ask('guest-get-timezone').catch(() => ({})),
      await this.ask('guest-get-osinfo').catch(() => ({})),
    ];
    const about = isObject(info) ? info : {};
    const timezone =
      isObject(zone) && zone['zone'] !== undefined ? `${text(zone['zone'])}, ${number(zone['offset'])}` : undefined;
    return {
      apiVersion: 'subresources.kubevirt.io/v1',
      kind: 'VirtualMachineInstanceGuestAgentInfo',
      guestAgentVersion: text(about['version']),
      supportedCommands: objects(about['supported_commands'], LIMIT.users).map((command) => ({
        name: text(command['name']),
        ...(command['enabled'] === true && { enabled: true }),
      })),
      ...(isObject(host) && { hostname: text(host['host-name']) }),
      os: osInfo(os),
      ...(timezone !== undefined && { timezone }),
      fsInfo: { disks: (await this.fileSystems()).items },
      userList: (await this.users()).items,
    };
  }

  /** Object of the `userlist` subresource. */
  async users(): Promise<{ items: Json[] } & Json> {
    const users = objects(await this.ask('guest-get-users').catch(() => []), LIMIT.users);
    return {
      apiVersion: 'subresources.kubevirt.io/v1',
      kind: 'VirtualMachineInstanceGuestOSUserList',
      metadata: {},
      items: users.map((user) => ({
        userName: text(user['user']),
        ...(user['domain'] !== undefined && { domain: text(user['domain']) }),
        loginTime: number(user['login-time']),
      })),
    };
  }

  /** Object of the `filesystemlist` subresource. */
  async fileSystems(): Promise<{ items: Json[] } & Json> {
    const systems = objects(await this.ask('guest-get-fsinfo').catch(() => []), LIMIT.fileSystems);
    return {
      apiVersion: 'subresources.kubevirt.io/v1',
      kind: 'VirtualMachineInstanceFileSystemList',
      metadata: {},
      items: systems.map((system) => ({
        diskName: text(system['name']),
        mountPoint: text(system['mountpoint']),
        fileSystemType: text(system['type']),
        usedBytes: number(system['used-bytes']),
        totalBytes: number(system['total-bytes']),
        disk: objects(system['disk'], LIMIT.addresses).map((disk) => ({
          ...(disk['serial'] !== undefined && { serial: text(disk['serial']) }),
          busType: text(disk['bus-type']),
        })),
      })),
    };
  }

  private async ask(command: string): Promise<unknown> {
    const answer = await this.libvirt.agentCommand(this.domain, JSON.stringify({ execute: command }), TIMEOUT_SECONDS);
    if (answer.length > LIMIT.answerBytes) throw new Error(`The guest agent's answer to ${command} is too long`);
    const parsed: unknown = JSON.parse(answer);
    return isObject(parsed) ? parsed['return'] : undefined;
  }
}

function osInfo(value: unknown): kubevirt.VirtualMachineInstanceGuestOSInfo {
  if (!isObject(value)) return {};
  return {
    name: text(value['name']),
    kernelRelease: text(value['kernel-release']),
    version: text(value['version']),
    prettyName: text(value['pretty-name']),
    versionId: text(value['version-id']),
    kernelVersion: text(value['kernel-version']),
    machine: text(value['machine']),
    id: text(value['id']),
  };
}

function interfaceList(value: unknown): GuestReport['interfaces'] {
  return objects(value, LIMIT.interfaces)
    .filter((entry) => entry['name'] !== 'lo')
    .map((entry) => ({
      name: text(entry['name']),
      mac: text(entry['hardware-address']).toLowerCase(),
      ipAddresses: objects(entry['ip-addresses'], LIMIT.addresses)
        .map((address) => text(address['ip-address']))
        .filter((address) => /^[\d.]+$|^[\da-f:.]+$/i.test(address)),
    }));
}
