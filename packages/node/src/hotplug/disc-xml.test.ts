import { el } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { emptyDriveXml, loadedDriveXml } from './disc-xml.ts';
import { parseXml } from './xml-tree.ts';

const EMPTY = parseXml(
  "<disk type='file' device='cdrom'><driver name='qemu' error_policy='stop'/><target dev='sda' bus='sata'/>" +
    "<readonly/><alias name='ua-tray'/><address type='drive' unit='0'/></disk>",
);
const DISC = el(
  'disk',
  { type: 'file', device: 'cdrom' },
  el('driver', { name: 'qemu', type: 'qcow2', cache: 'none', discard: 'unmap' }),
  el('source', { file: '/x/disk.img' }),
  el('target', { dev: 'sdb', bus: 'sata' }),
);

describe('a drive', () => {
  it('gets the disc and its format, and nothing else of the drive changes', () => {
    const loaded = parseXml(loadedDriveXml(EMPTY, DISC));
    const part = (name: string) => loaded.children.find((child) => child.name === name)?.attributes;
    expect(part('driver')).toEqual({ name: 'qemu', error_policy: 'stop', type: 'qcow2' });
    expect([part('source'), part('target')]).toEqual([{ file: '/x/disk.img' }, { dev: 'sda', bus: 'sata' }]);
    expect(loaded.children.map(({ name }) => name).sort()).toEqual([
      'address',
      'alias',
      'driver',
      'readonly',
      'source',
      'target',
    ]);
  });

  it('is empty again afterwards', () => {
    const emptied = parseXml(emptyDriveXml(parseXml(loadedDriveXml(EMPTY, DISC))));
    expect(emptied.children.map(({ name }) => name)).toEqual(['driver', 'target', 'readonly', 'alias', 'address']);
  });
});
