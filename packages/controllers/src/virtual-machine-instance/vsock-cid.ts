import type { VirtualMachineInstance } from '@slipway/api';

/** 0 to 2 stand for the hypervisor, the loop back and the host. */
const FIRST_CID = 3;

const isEnded = ({ status }: VirtualMachineInstance): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

/** The address of a guest on virtual sockets: the one it has, else the lowest that no other instance has. Pure. */
export function vsockCid(vmi: VirtualMachineInstance, others: () => readonly VirtualMachineInstance[]): number | undefined {
  if (vmi.spec.domain.devices.autoattachVSOCK !== true) return undefined;
  if (vmi.status?.VSOCKCID !== undefined) return vmi.status.VSOCKCID;
  const taken = new Set(others().flatMap((other) => (isEnded(other) ? [] : (other.status?.VSOCKCID ?? []))));
  let cid = FIRST_CID;
  while (taken.has(cid)) cid++;
  return cid;
}
