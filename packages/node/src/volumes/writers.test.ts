import { describe, expect, it } from 'vitest';
import type { VolumeRecord } from './volume-record.ts';
import { otherWriters, withoutWriter, withWriter, writersOf } from './writers.ts';

const RAW: VolumeRecord = { format: 'raw', virtualSizeBytes: 1, chain: [], state: 'ready' };
const pod = (podUid: string, isShared = false) => ({ podUid, uid: 1, ...(isShared && { isShared }) });
const alive = (): boolean => false;

describe('pods that write one disk', () => {
  it('are one, unless all of them share it', () => {
    const alone = withWriter(RAW, pod('a'), otherWriters(RAW, pod('a'), alive));
    expect(() => otherWriters(alone, pod('b'), alive)).toThrow('already used by pod a');
    expect(() => otherWriters(alone, pod('b', true), alive)).toThrow('make the disk shareable in both VMs');
    const first = withWriter(RAW, pod('a', true), []);
    expect(() => otherWriters(first, pod('b'), alive)).toThrow('already used by pod a');
    const both = withWriter(first, pod('b', true), otherWriters(first, pod('b', true), alive));
    expect(both).toMatchObject({ writer: pod('a', true), sharers: [pod('b', true)] });
  });

  it('come again as they were, and those that are gone are forgotten', () => {
    const both: VolumeRecord = { ...RAW, writer: pod('a', true), sharers: [pod('b', true)] };
    const again = withWriter(both, pod('b', true), otherWriters(both, pod('b', true), alive));
    expect(writersOf(again).map(({ podUid }) => podUid)).toEqual(['a', 'b']);
    const isGone = ({ podUid }: { podUid: string }): boolean => podUid === 'a';
    const left = withWriter(both, pod('b', true), otherWriters(both, pod('b', true), isGone));
    expect(left).toEqual({ ...RAW, writer: pod('b', true) });
    expect(otherWriters(both, pod('c'), () => true)).toEqual([]);
  });

  it('take their content along, though they ask for it once more', () => {
    const leaving: VolumeRecord = { ...RAW, writer: { ...pod('a'), isLeaving: true } };
    expect(withWriter(leaving, pod('a'), [])).toEqual(leaving);
    expect(withWriter(leaving, pod('b'), [])).toEqual({ ...RAW, writer: pod('b') });
  });

  it('leave one by one', () => {
    const both: VolumeRecord = { ...RAW, writer: pod('a', true), sharers: [pod('b', true)] };
    expect(withoutWriter(both, 'a')).toEqual({ ...RAW, writer: pod('b', true) });
    expect(withoutWriter(withoutWriter(both, 'a'), 'b')).toEqual(RAW);
  });

  it('are of one node, when the claim is', () => {
    const on = (podUid: string, node: string, isForOneNode: boolean) => ({ ...pod(podUid, true), node, isForOneNode });
    const first = withWriter(RAW, on('a', 'node1', true), []);
    expect(() => otherWriters(first, on('b', 'node2', true), alive)).toThrow(
      'pod a on node node1, and its claim is for one node',
    );
    expect(otherWriters(first, on('b', 'node1', true), alive)).toHaveLength(1);
    expect(otherWriters(first, on('b', 'node2', false), alive)).toHaveLength(1);
  });

  it('do not share a disk in layers', () => {
    expect(() => withWriter({ ...RAW, format: 'qcow2' }, pod('a', true), [])).toThrow('which one VM alone can write');
  });
});
