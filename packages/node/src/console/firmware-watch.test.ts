import { describe, expect, it } from 'vitest';
import { FirmwareWatch } from './firmware-watch.ts';

const LINE = 'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x3)/Pci(0x0,0x0): Access Denied\r\n';
const feed = (watch: FirmwareWatch, ...chunks: string[]) => chunks.map((chunk) => watch.see(Buffer.from(chunk)));

describe('FirmwareWatch', () => {
  it('sees a refused loader once, also in pieces', () => {
    const pieces = [`\x1b[2J${LINE.slice(0, 40)}`, LINE.slice(40), LINE];
    expect(feed(new FirmwareWatch(), ...pieces)).toEqual([undefined, 'Boot0001 "UEFI Misc Device"', undefined]);
  });

  it.each([
    ['a device without loader', LINE.replace('Access Denied', 'Not Found')],
    ['a start', 'BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)\r\n'],
  ])('is silent about %s', (_, text) => expect(feed(new FirmwareWatch(), text)).toEqual([undefined]));

  it('does not listen to what comes after the firmware', () => {
    expect(feed(new FirmwareWatch(), 'x'.repeat(64 * 1024), LINE)).toEqual([undefined, undefined]);
  });
});
