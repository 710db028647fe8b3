import { describe, expect, it } from 'vitest';
import { diagnose, type HostFacts, missingPackages, PROGRAMS } from './findings.ts';

const healthy: HostFacts = {
  isRoot: true,
  architecture: 'x64',
  distribution: 'Debian GNU/Linux 12',
  programs: Object.fromEntries(PROGRAMS.map(({ program }) => [program, `/usr/bin/${program}`])),
  devices: { '/dev/net/tun': true },
  kvm: { state: 'usable', reason: '' },
  firmwareDescriptors: 3,
  cniPluginDir: '/usr/lib/cni',
  cgroups: 'v2',
  freeDiskBytes: 50 * 1024 ** 3,
  freeMemoryBytes: 8 * 1024 ** 3,
  dataDir: '/var/lib/slipway',
};

describe('diagnose', () => {
  it('finds nothing to repair on a healthy host', () => {
    expect(diagnose(healthy).filter((finding) => finding.severity !== 'ok')).toEqual([]);
    expect(missingPackages(healthy)).toEqual([]);
  });

  it.each<[string, Partial<HostFacts>, string, string]>([
    ['not root', { isRoot: false }, 'root', 'error'],
    ['no QEMU', { programs: { ...healthy.programs, 'qemu-system-x86_64': undefined } }, 'qemu-system-x86_64', 'error'],
    ['no tun device', { devices: {} }, 'tun', 'error'],
    ['a KVM that cannot run guests', { kvm: { state: 'unusable', reason: 'the probe guest did not exit' } }, 'kvm', 'note'],
    ['a full disk', { freeDiskBytes: 1024 ** 3 }, 'disk', 'warning'],
    ['little memory', { freeMemoryBytes: 1024 ** 2 }, 'memory', 'warning'],
    ['no firmware', { firmwareDescriptors: 0 }, 'firmware', 'warning'],
  ])('%s has a finding with a remedy', (_name, change, check, severity) => {
    const finding = diagnose({ ...healthy, ...change }).find((entry) => entry.check === check);
    expect(finding?.severity).toBe(severity);
    expect(finding?.remedy).toBeTruthy();
  });

  it('names the Debian packages of everything that is missing', () => {
    const bare = { ...healthy, programs: {}, firmwareDescriptors: 0, cniPluginDir: undefined };
    expect(missingPackages(bare)).toEqual(
      expect.arrayContaining(['qemu-system-x86', 'libvirt-daemon-system', 'libvirt-daemon-driver-qemu', 'ovmf', 'nftables']),
    );
  });
});
