import type { PersistentVolumeClaim } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { claimAccess, multiAttach } from './claim-access.ts';
import { VolumeError } from './volume-error.ts';

describe('access modes of a claim', () => {
  it.each([
    [[], false, true, false],
    [['ReadWriteOnce'], false, true, false],
    [['ReadWriteMany'], false, false, false],
    [['ReadOnlyMany'], true, true, false],
    [['ReadOnlyMany', 'ReadWriteOnce'], false, true, false],
    [['ReadWriteOncePod'], false, true, true],
  ])('%j: read-only %s, for one node %s, for one pod %s', (modes, isReadOnly, isForOneNode, isForOnePod) => {
    expect(claimAccess(modes)).toEqual({ isReadOnly, isForOneNode, isForOnePod });
  });

  it('are told in the words of Kubernetes when somebody else has the volume', () => {
    const claim = { spec: { volumeName: 'pvc-1' } } as PersistentVolumeClaim; // nothing else is read
    const other = new Error('something else');
    expect(multiAttach(claim, other)).toBe(other);
    const inUse = multiAttach(claim, new VolumeError('VolumeInUse', 'Volume is already used by pod default/a: stop that first'));
    expect(inUse).toMatchObject({
      reason: 'VolumeInUse',
      message: 'Multi-Attach error for volume "pvc-1" Volume is already used by pod default/a: stop that first',
    });
  });
});
