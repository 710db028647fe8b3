import { isIP } from 'node:net';
import type { kubevirt } from '@slipway/api';
import { amount, asRecord, present, records, text } from './bounded.ts';

/** An interface as the guest sees it. */
export interface GuestInterface {
  readonly interfaceName: string;
  readonly mac: string;
  readonly ipAddresses: readonly string[];
}

/** A host of containers has hundreds; those of the VM itself may be anywhere among them. */
const MAX_SCANNED = 4096;
const MAX_INTERFACES = 256;
const MAX_ADDRESSES = 32;
const MAX_DISKS = 32;
const MAX_LOAD = 1e6;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** `guest-info`. */
export function parseAgentInfo(value: unknown): { version: string; supportedCommands: kubevirt.GuestAgentCommandInfo[] } {
  const info = asRecord(value);
  const supportedCommands = records(info['supported_commands']).flatMap((command) => {
    const name = text(command['name']);
    return name === undefined ? [] : [{ name, enabled: command['enabled'] === true }];
  });
  return { version: text(info['version']) ?? '', supportedCommands };
}

/** `guest-get-osinfo`. */
export function parseOsInfo(value: unknown): kubevirt.VirtualMachineInstanceGuestOSInfo {
  const info = asRecord(value);
  return present<kubevirt.VirtualMachineInstanceGuestOSInfo>({
    id: text(info['id']),
    name: text(info['name']),
    prettyName: text(info['pretty-name']),
    version: text(info['version']),
    versionId: text(info['version-id']),
    kernelRelease: text(info['kernel-release']),
    kernelVersion: text(info['kernel-version']),
    machine: text(info['machine']),
  });
}

/** `guest-network-get-interfaces`, without loopback, link-local addresses and addresses of a zone. */
export function parseInterfaces(value: unknown): GuestInterface[] {
  const found: GuestInterface[] = [];
  for (const entry of records(value, MAX_SCANNED)) {
    const interfaceName = text(entry['name']);
    const mac = text(entry['hardware-address'])?.toLowerCase();
    if (interfaceName === undefined || interfaceName === 'lo' || mac === undefined || !MAC.test(mac)) continue;
    const ipAddresses = records(entry['ip-addresses'])
      .flatMap((address) => text(address['ip-address']) ?? [])
      .filter((address) => isIP(address) !== 0 && !/^fe80:|%/i.test(address))
      .slice(0, MAX_ADDRESSES);
    if (found.push({ interfaceName, mac, ipAddresses }) >= MAX_INTERFACES) break;
  }
  return found;
}

/** `guest-get-fsinfo`. */
export function parseFileSystems(value: unknown): kubevirt.VirtualMachineInstanceFileSystem[] {
  return records(value).map((entry) => ({
    diskName: text(entry['name']) ?? '',
    mountPoint: text(entry['mountpoint']) ?? '',
    fileSystemType: text(entry['type']) ?? '',
    usedBytes: amount(entry['used-bytes']),
    totalBytes: amount(entry['total-bytes']),
    disk: records(entry['disk'], MAX_DISKS).map((disk) => ({
      busType: text(disk['bus-type']) ?? '',
      ...present<{ serial?: string }>({ serial: text(disk['serial']) }),
    })),
  }));
}

/** `guest-get-users`. */
export function parseUsers(value: unknown): kubevirt.VirtualMachineInstanceGuestOSUser[] {
  return records(value).flatMap((entry) => {
    const userName = text(entry['user']);
    if (userName === undefined) return [];
    return [
      { userName, loginTime: amount(entry['login-time']), ...present<{ domain?: string }>({ domain: text(entry['domain']) }) },
    ];
  });
}

/** `guest-get-host-name`. */
export const parseHostname = (value: unknown): string | undefined => text(asRecord(value)['host-name']);

/** `guest-get-timezone`, as KubeVirt prints it: `UTC, 0`. */
export function parseTimezone(value: unknown): string | undefined {
  const zone = asRecord(value);
  const offset = typeof zone['offset'] === 'number' && Number.isFinite(zone['offset']) ? zone['offset'] : 0;
  const name = text(zone['zone']);
  return name === undefined ? undefined : `${name}, ${offset}`;
}

/** Three averages, or nothing when one is no number that a load can be. */
export function parseLoad(value: unknown): readonly number[] | undefined {
  const record = asRecord(value);
  const loads = ['load1m', 'load5m', 'load15m'].map((name) => record[name]);
  const isLoad = (load: unknown): load is number => typeof load === 'number' && load >= 0 && load < MAX_LOAD;
  return loads.every(isLoad) ? loads : undefined;
}
