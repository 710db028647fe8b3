import { built, pvc, vm } from '@slipway/testkit';
import { type VirtualMachineInstance, VirtualMachineInstanceKind } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import {
  afterMoves,
  copyProgress,
  hasArrived,
  type LiveFacts,
  planDestination,
  settledRecord,
  toldToCopy,
  toldToStop,
} from './live-plan.ts';

const claim = (name: string, size = '1Gi', phase = 'Bound') =>
  pvc(`a/${name}`, {
    spec: { resources: { requests: { storage: size } } },
    status: { phase, ...(phase === 'Bound' && { capacity: { storage: size } }) },
  }).object;
const guest = (disk: object = { disk: { bus: 'virtio' } }, status: object = {}): VirtualMachineInstance =>
  built(VirtualMachineInstanceKind, 'a/box', {
    spec: {
      domain: { devices: { disks: [{ name: 'root', ...disk }] } },
      volumes: [{ name: 'root', persistentVolumeClaim: { claimName: 'old' } }],
    },
    status: { phase: 'Running', nodeName: 'one', ...status },
  } as never).object;
const facts = (parts: Partial<LiveFacts> = {}): LiveFacts => ({
  vm: vm('a/box').object,
  vmi: guest(),
  volume: 'root',
  moved: { from: 'old', live: true },
  destination: 'new',
  source: claim('old'),
  claim: claim('new'),
  dataVolume: undefined,
  users: [],
  sourceUsers: ['virt-launcher-box'],
  node: 'one',
  waitsForConsumer: false,
  nodes: [],
  ...parts,
});
const moving = [{ volumeName: 'root', sourcePVCInfo: { claimName: 'old' }, destinationPVCInfo: { claimName: 'new' } }];
const inClaim = (claimName: string) => [{ name: 'root', target: 'vda', persistentVolumeClaimInfo: { claimName } }];

describe('planDestination', () => {
  it.each<[string, Partial<LiveFacts>, string, string?]>([
    ['copies into a claim that was blank', {}, 'done'],
    ['copies into a larger claim', { claim: claim('new', '2Gi') }, 'done'],
    ['copies into a claim of the node', { nodes: ['one'] }, 'done'],
    ['writes down that a claim was blank', { moved: { from: 'old' }, claim: claim('new', '1Gi', 'Pending') }, 'accept'],
    ['waits for a claim that is not bound', { claim: claim('new', '1Gi', 'Pending') }, 'wait'],
    [
      'chooses the node of a claim that waits for a pod',
      { claim: claim('new', '1Gi', 'Pending'), waitsForConsumer: true },
      'place',
    ],
    ['refuses a smaller claim', { claim: claim('new', '512Mi') }, 'refuse', 'at least 1Gi'],
    ['refuses a claim with content', { moved: { from: 'old' } }, 'refuse', 'has a volume of its own'],
    ['refuses a claim of another node', { nodes: ['two'] }, 'refuse', 'take a claim of that node or of class "shared"'],
    ['refuses a claim that a pod uses', { users: ['other'] }, 'refuse', 'used by pod other'],
    ['refuses a source that is gone', { source: undefined }, 'refuse', 'does not exist'],
    ['refuses a LUN', { vmi: guest({ lun: {} }) }, 'refuse', 'it is a LUN'],
    ['refuses a disk that is shared', { vmi: guest({ disk: {}, shareable: true }) }, 'refuse', 'other VMs may write'],
    ['refuses a volume that is shared as a directory', { volume: 'files' }, 'refuse', 'shared as a directory'],
    ['waits for the guest', { vmi: guest({}, { phase: 'Scheduled' }) }, 'wait', 'the guest is Scheduled'],
    ['waits for a claim that nobody made', { claim: undefined }, 'wait', 'create it'],
  ])('%s', (_, parts, action, message) => {
    const plan = planDestination(facts(parts));
    expect(plan.action).toBe(action);
    if (message !== undefined) expect(plan).toMatchObject({ message: expect.stringContaining(message) as string });
  });
});

describe('what the agent is told', () => {
  it('begins with both claims, and ends with the claims that the guest has', () => {
    const told = toldToCopy(guest(), moving, 0);
    expect(told.status).toMatchObject({ migratedVolumes: moving, conditions: [{ type: 'VolumesChange', status: 'True' }] });
    expect(copyProgress(told, 'root')).toBe('the copy begins');
    const arrived = { ...told, status: { ...told.status, volumeStatus: inClaim('new') } };
    expect(moving.every((volume) => hasArrived(arrived, volume))).toBe(true);
    const after = afterMoves(arrived, 0);
    expect(after.spec.volumes).toEqual([{ name: 'root', persistentVolumeClaim: { claimName: 'new' } }]);
    expect(after.status).toMatchObject({ conditions: [] });
    expect(after.status).not.toHaveProperty('migratedVolumes');
  });

  it('is called off by the condition alone: the agent knows whether it is too late', () => {
    const called = toldToStop(toldToCopy(guest(), moving, 0), 0);
    expect(called.status).toMatchObject({
      migratedVolumes: moving,
      conditions: [{ type: 'VolumesChange', status: 'False', reason: 'VolumesChangeCancellation' }],
    });
    expect(afterMoves(called, 0).spec.volumes).toEqual(guest().spec.volumes);
  });
});

describe('settledRecord', () => {
  const tried = { root: { from: 'old', live: true, tried: 'new' } };
  it.each([
    ['keeps what is being copied', tried, 'new', true, 'old', tried],
    ['has nothing of what has arrived', tried, 'new', true, 'new', {}],
    ['has nothing of what goes back and never left', tried, 'old', true, 'old', {}],
    ['begins anew with what goes back and had left', tried, 'old', true, 'new', { root: { from: 'new' } }],
    ['begins anew with what goes elsewhere', tried, 'third', true, 'old', { root: { from: 'old' } }],
    ['begins anew when the guest ended before the copy was complete', tried, 'new', false, 'old', { root: { from: 'old' } }],
    ['is done when the guest ended afterwards', tried, 'new', false, 'new', {}],
    ['keeps what nobody can tell', tried, 'new', false, undefined, tried],
  ])('%s', (_, record, target, isRunning, content, expected) => {
    expect(settledRecord(record, new Map([['root', target]]), isRunning, () => content)).toEqual(expected);
  });
});
