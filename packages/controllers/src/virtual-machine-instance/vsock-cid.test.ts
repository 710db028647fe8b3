import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { vsockCid } from './vsock-cid.ts';

const instance = (autoattachVSOCK: boolean, VSOCKCID?: number, phase = 'Running'): VirtualMachineInstance =>
  ({
    ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: {} },
    spec: { domain: { devices: { autoattachVSOCK } } },
    status: { phase, ...(VSOCKCID !== undefined && { VSOCKCID }) },
  }) as VirtualMachineInstance;

describe('vsockCid', () => {
  it.each([
    ['none without the device', instance(false), [], undefined],
    ['the first', instance(true), [], 3],
    ['a gap', instance(true), [instance(true, 3), instance(true, 5)], 4],
    ['that of an instance that has ended', instance(true), [instance(true, 3, 'Failed')], 3],
    ['its own', instance(true, 9), [instance(true, 3)], 9],
  ])('is %s', (_, vmi, others, cid) => expect(vsockCid(vmi, () => others)).toBe(cid));
});
