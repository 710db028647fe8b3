import { describe, expect, it } from 'vitest';
import { disksOf, pivotDocument } from './live-disks.ts';

/** As libvirt describes a running domain: layers below a disk, a disk without file, an entity in a name. */
const XML = `<domain><devices>
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2'/>
    <source file='/v/1/live-2.img' index='4'/>
    <backingStore type='file' index='3'><format type='raw'/><source file='/v/1/disk.img'/><backingStore/></backingStore>
    <target dev='vda' bus='virtio'/>
  </disk>
  <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
  <disk type='file' device='disk'><source file='/v/a&amp;b.img'/><backingStore/><target dev='vdb' bus='virtio'/></disk>
</devices></domain>`;

describe('disks of a running guest', () => {
  it('are the files it writes, not the layers below', () => {
    expect(disksOf(XML)).toEqual([
      { target: 'vda', file: '/v/1/live-2.img' },
      { target: 'vdb', file: '/v/a&b.img' },
    ]);
  });

  it('change over one at a time', () => {
    expect(pivotDocument(disksOf(XML), '/v/a&b.img', '/v/live.img')).toBe(
      '<domainsnapshot><disks><disk name="vda" snapshot="no"/>' +
        '<disk name="vdb" snapshot="external" type="file"><driver type="qcow2"/><source file="/v/live.img"/></disk>' +
        '</disks></domainsnapshot>',
    );
  });
});
