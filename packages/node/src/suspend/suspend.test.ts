import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtualMachineInstance } from '@slipway/api';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PreparedVolume, SavedState } from '../contracts.ts';
import { adaptDomain } from './adapt-domain.ts';
import { finishResume, type ResumeDeps, resumeGuest } from './resume-guest.ts';

const SAVED = `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>default_box</name>
  <memory unit='KiB'>131072</memory>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='/old/disk.img' index='1'/>
      <backingStore type='file'><format type='raw'/><source file='/old/layer.img'/></backingStore>
      <target dev='vda' bus='virtio'/>
      <alias name='ua-root'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><alias name='ua-empty'/></disk>
    <interface type='ethernet'>
      <mac address='02:00:00:00:00:01'/><target dev='tap-old' managed='no'/><alias name='ua-default'/>
    </interface>
  </devices>
</domain>`;

const disks = new Map([['root', { path: '/new/disk.img', format: 'qcow2' }]]);
const taps = new Map([['default', 'tap-new']]);

describe('the document of a saved guest', () => {
  it('gets new files and links, and keeps what the guest sees', () => {
    const xml = adaptDomain(SAVED, { disks, taps });
    expect(xml).toMatch(/<source file=["']\/new\/disk\.img["']/);
    expect(xml).toMatch(/<driver[^>]*type=["']qcow2["']/);
    expect(xml).toMatch(/<target[^>]*dev=["']tap-new["']/);
    expect(xml).toMatch(/bus=["']0x04["']/);
    expect(xml).toContain('02:00:00:00:00:01');
    expect(xml).not.toMatch(/\/old\/|backingStore|tap-old/);
  });

  it('is refused when a disk of the guest is gone', () => {
    expect(() => adaptDomain(SAVED, { disks: new Map(), taps })).toThrow('disk "root"');
  });
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipsuspend-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const instance = (annotations: Record<string, string>, startStrategy?: string): VirtualMachineInstance =>
  ({
    metadata: { name: 'box', namespace: 'default', annotations },
    spec: { domain: { devices: {} }, ...(startStrategy && { startStrategy }) },
  }) as unknown as VirtualMachineInstance; // what a resume looks at

/** A libvirt that notes what it is asked, and a claim with this content. */
function world(content: string | undefined, options: { state?: number; fails?: boolean } = {}) {
  const calls: string[] = [];
  const path = join(directory, 'state');
  if (content !== undefined) writeFileSync(path, content);
  const state: SavedState = { path, spend: async () => void calls.push('spend') };
  const libvirt = {
    savedXml: async () => SAVED,
    resume: async () => void calls.push('resume'),
    state: async () => ({ state: options.state ?? 3, reason: 0 }),
    agentCommand: async () => '{}',
  };
  const deps = {
    session: {
      libvirt: async () => libvirt,
      domain: async () => ({ name: 'default_box', uuid: Buffer.alloc(16), id: 1 }),
      restore: async (name: string) => {
        calls.push(`restore ${name}`);
        if (options.fails) throw new Error('unknown machine type');
      },
    },
    volumes: { savedState: async () => (content === undefined ? undefined : state), plug: async () => undefined },
    events: { normal: () => {}, warning: (_: unknown, reason: string) => void calls.push(reason) },
    pod: { metadata: {} },
    sandbox: {},
    nowMs: 0,
  } as unknown as ResumeDeps; // what a resume calls
  return { calls, deps };
}

const CLAIM = { 'slipway.dev/memory-state-claim': 'box-memory-state' };
const prepared = [{ name: 'root', path: '/new/disk.img', format: 'raw', readOnly: false, sizeBytes: 1 }] as const;
const parts = {
  name: 'default_box',
  network: { podIPs: [], interfaces: [] },
  prepared: prepared as readonly PreparedVolume[],
};
const signal = new AbortController().signal;

describe('a guest with saved memory', () => {
  it('goes on only after its state is used up', async () => {
    const { calls, deps } = world('LibvirtQemudSave and so on');
    expect(await resumeGuest(deps, instance(CLAIM), parts, signal)).toBe(true);
    expect(calls).toEqual(['restore default_box', 'spend', 'resume']);
  });

  it('stays paused when it was', async () => {
    const { calls, deps } = world('LibvirtQemudSave and so on');
    await resumeGuest(deps, instance(CLAIM, 'Paused'), parts, signal);
    expect(calls).toEqual(['restore default_box', 'spend']);
  });

  it.each([
    ['was not saved completely', 'LibvirtQemudPart and so on', CLAIM, ['MemoryStateIncomplete']],
    ['has an empty claim', '', CLAIM, ['MemoryStateIncomplete']],
    ['has used it up', undefined, CLAIM, []],
    ['has none', 'LibvirtQemudSave', {}, []],
  ])('boots when it %s', async (_, content, annotations, expected) => {
    const { calls, deps } = world(content);
    expect(await resumeGuest(deps, instance(annotations as Record<string, string>), parts, signal)).toBe(false);
    expect(calls).toEqual(expected);
  });

  it('keeps the state when libvirt cannot load it', async () => {
    const { calls, deps } = world('LibvirtQemudSave and so on', { fails: true });
    await expect(resumeGuest(deps, instance(CLAIM), parts, signal)).rejects.toThrow('unknown machine type');
    expect(calls).toEqual(['restore default_box']);
  });

  it.each([
    ['waits', 3, ['spend', 'resume']],
    ['runs', 1, ['spend']],
  ])('is seen to by the next agent when it %s', async (_, state, expected) => {
    const { calls, deps } = world('LibvirtQemudSave and so on', { state });
    await finishResume(deps, instance(CLAIM), signal);
    expect(calls).toEqual(expected);
  });
});
