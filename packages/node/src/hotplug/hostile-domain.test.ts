// A daemon that a guest has taken over may describe its domain as it likes.
import { fuzz, mutateBytes } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { liveDomain } from './live-domain.ts';
import { parseXml } from './xml-tree.ts';

const DOMAIN = `<domain type='kvm' id='1'><vcpu placement='static' current='1'>4</vcpu><iothreads>1</iothreads><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/disk &amp; more'/><target dev='vda' bus='virtio'/>
<alias name='ua-root'/></disk><interface type='ethernet'><mac address='02:00:00:00:00:01'/><target dev='tap0'/><link state='up'/>
<alias name='ua-default'/></interface><memory model='virtio-mem'><target><size unit='KiB'>1048576</size>
<requested unit='KiB'>0</requested><current unit='KiB'>0</current></target><alias name='ua-virtiomem'/></memory></devices></domain>`;

it('reads a domain of any bytes or refuses it', async () => {
  const sample = Buffer.from(DOMAIN);
  expect(liveDomain(DOMAIN).disks).toHaveLength(1);
  await fuzz({
    name: 'domain documents',
    inputs: 3000,
    make: (random) => mutateBytes(random, mutateBytes(random, sample), [sample]).toString('utf8'),
    run(document) {
      try {
        const { disks, interfaces, memory } = liveDomain(document);
        expect(disks.length + interfaces.length + memory.length).toBeLessThan(100);
      } catch (error) {
        expect(String(error)).toMatch(/document of libvirt|code point/);
      }
    },
  });
});

it.each([
  ['too deep', '<a>'.repeat(1_000_000)],
  ['too wide', `<a>${'<b/>'.repeat(1_000_000)}</a>`],
  ['cut off', '<a b="'.repeat(100_000)],
  ['no end of a tag', `<a ${' '.repeat(200_000)}`],
])('refuses a document that is %s', (_, document) => {
  expect(() => parseXml(document)).toThrow(/document of libvirt/);
});
