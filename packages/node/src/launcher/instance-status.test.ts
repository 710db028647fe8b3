import type { VirtualMachineInstance } from '@slipway/api';
import { clusterConfig } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { endedInstance, migratableConditions, pausedInstance, reportedInstance, withMigratability } from './instance-status.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');

function instance(status: VirtualMachineInstance['status'] = {}): VirtualMachineInstance {
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: 'vm', namespace: 'default', uid: 'u' },
    spec: {
      networks: [{ name: 'default', pod: {} }],
      domain: { devices: { interfaces: [{ name: 'default', masquerade: {} }] } },
    },
    status,
  };
}

const running = (): VirtualMachineInstance =>
  instance({ phase: 'Running', conditions: [{ type: 'LiveMigratable', status: 'False', reason: 'before' } as never] });

const report = {
  os: { name: 'Tiny' },
  interfaces: [{ name: 'enp1s0', mac: '02:00:00:00:00:01', ipAddresses: ['10.0.2.2'] }],
};

describe('status of an instance', () => {
  it('takes addresses of the guest agent only where nothing else knows them', () => {
    const known = { name: 'default', mac: '02:00:00:00:00:01', infoSource: 'domain' };
    const behindNat = instance({ interfaces: [{ ...known, ipAddress: '10.244.0.5', ipAddresses: ['10.244.0.5'] }] });
    const masquerade = reportedInstance(behindNat, report, NOW).status?.interfaces?.[0];
    expect(masquerade).toMatchObject({ ipAddress: '10.244.0.5', interfaceName: 'enp1s0' });
    const bridge = reportedInstance(instance({ interfaces: [known] }), report, NOW).status?.interfaces?.[0];
    expect(bridge).toMatchObject({ ipAddress: '10.0.2.2', infoSource: 'domain, guest-agent' });
  });

  it('writes nothing when a report says the same again', () => {
    const once = reportedInstance(instance({ interfaces: [] }), report, NOW);
    expect(reportedInstance(once, report, NOW + 60_000)).toBe(once);
    const disconnected = reportedInstance(once, undefined, NOW);
    expect(disconnected.status?.conditions).toEqual([]);
  });

  it('keeps one entry per phase and drops what only a running guest has', () => {
    const paused = pausedInstance(instance({ phase: 'Running' }), 'PausedByUser', NOW);
    expect(pausedInstance(paused, 'PausedByUser', NOW)).toBe(paused);
    const ended = endedInstance(endedInstance(paused, 'Failed', NOW), 'Failed', NOW + 1000);
    expect(ended.status).toMatchObject({ phase: 'Failed', conditions: [] });
    expect(ended.status?.phaseTransitionTimestamps).toEqual([
      { phase: 'Failed', phaseTransitionTimestamp: '2026-01-02T03:04:05Z' },
    ]);
  });

  it('says why its guest has ended, when there is a word for it', () => {
    expect(endedInstance(instance(), 'Failed', NOW, 'GuestPanicked').status).toMatchObject({ reason: 'GuestPanicked' });
    expect(endedInstance(instance(), 'Failed', NOW).status?.reason).toBeUndefined();
  });

  it('says why a guest cannot move', () => {
    const local = { name: 'd', target: '', persistentVolumeClaimInfo: { claimName: 'root', accessModes: ['ReadWriteOnce'] } };
    const [whole, storage] = migratableConditions(instance({ volumeStatus: [local as never] }), clusterConfig());
    expect([whole, storage]).toMatchObject([
      { type: 'LiveMigratable', status: 'True' },
      { type: 'StorageLiveMigratable', status: 'True' },
    ]);
    const strict = clusterConfig({}, { strictLiveMigratable: true });
    expect(migratableConditions(instance({ volumeStatus: [local as never] }), strict)).toMatchObject([
      { status: 'False', reason: 'DisksNotLiveMigratable' },
      { status: 'False', reason: 'NotMigratable', message: expect.stringMatching(/^DisksNotLiveMigratable: cannot migrate/) },
    ]);
  });

  it('says anew whether a guest can move when it gets or loses a disk that ties it', () => {
    const tie = { name: 'cd', target: '', persistentVolumeClaimInfo: { claimName: 'tools', accessModes: ['ReadWriteOnce'] } };
    const disk = { name: 'cd', disk: { bus: 'scsi', readonly: true } };
    const volume = { name: 'cd', persistentVolumeClaim: { claimName: 'tools', hotpluggable: true } };
    const free = withMigratability(running(), clusterConfig(), NOW);
    expect(withMigratability(free, clusterConfig(), NOW + 1000)).toBe(free);
    const { spec } = free;
    const devices = { ...spec.domain.devices, disks: [disk] };
    const plugged: VirtualMachineInstance = {
      ...free,
      spec: { ...spec, volumes: [volume], domain: { ...spec.domain, devices } },
      status: { ...free.status, volumeStatus: [tie as never] },
    };
    const tied = withMigratability(plugged, clusterConfig(), NOW);
    expect(tied.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'LiveMigratable', status: 'False', reason: 'DisksNotLiveMigratable' }),
    );
    const unplugged = { ...tied, spec, status: { ...tied.status, volumeStatus: [] } };
    expect(withMigratability(unplugged, clusterConfig(), NOW).status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'LiveMigratable', status: 'True' }),
    );
  });

  it('says nothing of a move before its guest runs', () => {
    const starting = instance({ phase: 'Scheduled', conditions: [] });
    expect(withMigratability(starting, clusterConfig(), NOW)).toBe(starting);
  });
});
