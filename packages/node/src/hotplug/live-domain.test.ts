import { describe, expect, it } from 'vitest';
import { liveDomain } from './live-domain.ts';
import { deviceXml } from './write-xml.ts';
import { parseXml } from './xml-tree.ts';

const DOMAIN = `<?xml version='1.0'?>
<!-- as libvirt prints it -->
<domain type='qemu' id='1'>
  <name>default_web</name>
  <vcpu placement='static' current='1'>4</vcpu>
  <iothreads>2</iothreads>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' iothread='2'/>
      <source file='/var/lib/a &amp; b/disk.img' index='1'/>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <serial>A&lt;1&gt;</serial>
      <alias name='ua-root'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='sda' bus='sata'/>
      <alias name='sata0-0-0'/>
    </disk>
    <interface type='ethernet'>
      <mac address='02:00:00:00:00:01'/>
      <target dev='tap0' managed='no'/>
      <link state='down'/>
      <alias name='ua-default'/>
    </interface>
    <memory model='virtio-mem'>
      <target>
        <size unit='KiB'>3145728</size>
        <requested unit='MiB'>4</requested>
        <current unit='KiB'>2048</current>
      </target>
      <alias name='ua-virtiomem'/>
    </memory>
  </devices>
</domain>
`;

describe('liveDomain', () => {
  it('reads what can change while the guest runs', () => {
    const live = liveDomain(DOMAIN);
    expect(live.disks).toMatchObject([
      { name: 'root', target: 'vda', bus: 'virtio', source: '/var/lib/a & b/disk.img', ioThread: 2 },
      { name: '', target: 'sda', bus: 'sata', source: undefined },
    ]);
    expect(live.interfaces).toMatchObject([{ name: 'default', mac: '02:00:00:00:00:01', tap: 'tap0', linkState: 'down' }]);
    expect(live.memory).toMatchObject([{ sizeBytes: 3 * 1024 ** 3, requestedBytes: 4 * 1024 ** 2, currentBytes: 2 * 1024 ** 2 }]);
    expect(live.vcpus).toEqual({ current: 1, maximum: 4 });
    expect(live.ioThreads).toEqual([1, 2]);
  });

  it('gives a device back as libvirt wrote it', () => {
    const [disk] = liveDomain(DOMAIN).disks;
    const again = parseXml(deviceXml(disk?.element ?? { name: '', attributes: {}, children: [], text: '' }));
    expect(again.children.map(({ name }) => name)).toEqual('driver source backingStore target serial alias address'.split(' '));
    expect(again.children.find(({ name }) => name === 'serial')?.text).toBe('A<1>');
    expect(again.children.find(({ name }) => name === 'source')?.attributes['file']).toBe('/var/lib/a & b/disk.img');
  });

  it.each(['', '<domain>', '<domain></devices>', 'no xml at all'])('refuses %j', (text) => {
    expect(() => liveDomain(text)).toThrow(/document of libvirt/);
  });

  it('reads a domain with every vCPU in use and no devices', () => {
    expect(liveDomain("<domain><vcpu>2</vcpu><iothreadids><iothread id='7'/></iothreadids></domain>")).toMatchObject({
      ...{ disks: [], interfaces: [], memory: [] },
      vcpus: { current: 2, maximum: 2 },
      ioThreads: [7],
    });
  });
});
