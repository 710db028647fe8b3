import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { kubevirt, Pod } from '@slipway/api';
import { silentLogger } from '@slipway/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostDevices } from './host-devices.ts';
import { parseSriovConfig } from './sriov-config.ts';
import { type SimulatedFunction, writeSysfs } from './testing/sysfs-tree.ts';

const PF = '0000:03:00.0';
const vf = (index: number, more: Partial<SimulatedFunction> = {}): SimulatedFunction => ({
  ...{ address: `0000:03:02.${index}`, id: '8086:154c', driver: 'vfio-pci', group: String(40 + index), of: PF },
  ...more,
});
const NIC: readonly SimulatedFunction[] = [
  { address: PF, id: '8086:1572', driver: 'i40e', links: ['ens1f0'] },
  vf(0),
  vf(1),
  vf(2, { driver: 'iavf' }),
  vf(3),
];
const resourceList = (...entries: object[]): string => JSON.stringify({ resourceList: entries });
const POOL = { resourceName: 'vfs', resourcePrefix: 'lab.io', selectors: { vendors: ['8086'], pfNames: ['ens1f0#0-2'] } };

/** A launcher pod that asks for devices, and for its networks by name. */
function pod(name: string, limits: Record<string, string>, networks: Record<string, string> = {}): Pod {
  const env = Object.entries(networks).map(([network, value]) => ({ name: `KUBEVIRT_RESOURCE_NAME_${network}`, value }));
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, uid: `uid-${name}` } },
    spec: { containers: [{ name: 'compute', env, resources: { limits } }] },
  };
}

describe('devices of the host', () => {
  let root: string;
  let permitted: kubevirt.PermittedHostDevices | undefined;
  const open = async (): Promise<HostDevices> => {
    const devices = new HostDevices({
      ...{ stateDir: join(root, 'state'), sysRoot: join(root, 'sys'), sriovConfigPath: join(root, 'config.json') },
      ...{ permitted: () => permitted, log: silentLogger },
    });
    await devices.refresh();
    return devices;
  };
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'slipway-devices-'));
    permitted = undefined;
  });
  afterEach(() => rm(root, { recursive: true }));

  it('are none where there are none', async () => {
    const devices = await open();
    expect([...devices.counts()]).toEqual([]);
    expect(await devices.allocate(pod('a', { cpu: '1' }))).toEqual({ env: {}, nodes: [], networks: new Map() });
    await expect(devices.allocate(pod('b', { 'lab.io/vfs': '1' }, { fast: 'lab.io/vfs' }))).rejects.toThrow(
      /has 0 free of 1 devices of resource lab\.io\/vfs/,
    );
  });

  it('are virtual functions by their physical one and their number, as far as they can be passed on', async () => {
    await writeSysfs(join(root, 'sys'), { functions: NIC });
    await writeFile(join(root, 'config.json'), resourceList(POOL, { resourceName: 'rest', selectors: [{ rootDevices: [PF] }] }));
    const devices = await open();
    expect([...devices.counts()]).toEqual([
      ['lab.io/vfs', 2],
      ['intel.com/rest', 1],
    ]);
    expect(devices.problems()[0]).toMatch(/lab\.io\/vfs: 0000:03:02\.2 is bound to "iavf" instead of vfio-pci: "driverctl/);
    expect(devices.portOf('0000:03:02.3')).toEqual({ link: 'ens1f0', index: 3 });
  });

  it('go to one pod at a time, and stay with it over a restart of the agent', async () => {
    await writeSysfs(join(root, 'sys'), { functions: NIC });
    await writeFile(join(root, 'config.json'), resourceList(POOL));
    const devices = await open();
    const wants = (name: string) => pod(name, { 'lab.io/vfs': '1', memory: '1Gi' }, { fast: 'lab.io/vfs', plain: '' });
    const [one, two] = await Promise.all([devices.allocate(wants('one')), devices.allocate(wants('two'))]);
    expect(one).toEqual({
      env: { KUBEVIRT_RESOURCE_NAME_fast: 'lab.io/vfs', PCIDEVICE_LAB_IO_VFS: '0000:03:02.0' },
      nodes: ['vfio/vfio', 'vfio/40'],
      networks: new Map([['fast', '0000:03:02.0']]),
    });
    expect(two.networks.get('fast')).toBe('0000:03:02.1');
    const refused = /has 0 free of 1 devices of resource lab\.io\/vfs.*: 0000:03:02\.2 is bound to "iavf"/;
    await expect(devices.allocate(wants('three'))).rejects.toThrow(refused);
    const again = await open();
    expect(await again.allocate(wants('one'))).toEqual(one);
    await expect(again.allocate(wants('three'))).rejects.toThrow(refused);
    await again.collectGarbage(new Set(['uid-one']));
    expect((await again.allocate(wants('three'))).networks.get('fast')).toBe('0000:03:02.1');
    await again.release('uid-one');
    expect(await again.deviceFor(wants('one'), 'fast')).toBeUndefined();
  });

  it('are the PCI and USB devices that the cluster permits, unless somebody else provides them', async () => {
    const usb = {
      '1-2': { idVendor: '046d', idProduct: 'c52b', busnum: '1', devnum: '7', serial: 'x' },
      '1-3': { idVendor: '0951', idProduct: '1666', busnum: '1', devnum: '9' },
      '1-4': { idVendor: '0951', idProduct: '1666', busnum: '1', devnum: '12' },
      '1-2:1.0': { bInterfaceClass: '03' },
    };
    const gpu = { address: '0000:65:00.0', id: '10de:1eb8', driver: 'vfio-pci', group: '9' };
    await writeSysfs(join(root, 'sys'), { functions: [gpu, { ...gpu, address: '0000:66:00.0', group: '' }], usb });
    const stick = { vendor: '0951', product: '1666' };
    permitted = {
      pciHostDevices: [
        { pciVendorSelector: '10DE:1EB8', resourceName: 'nvidia.com/T4' },
        { pciVendorSelector: '10DE:1EB8', resourceName: 'elsewhere.io/T4', externalResourceProvider: true },
      ],
      usb: [{ resourceName: 'lab.io/kit', selectors: [{ vendor: '046d', product: 'c52b' }, stick] }],
    };
    const devices = await open();
    expect([...devices.counts()]).toEqual([
      ['nvidia.com/T4', 1],
      ['lab.io/kit', 1],
    ]);
    expect(devices.problems()).toEqual([expect.stringContaining('0000:66:00.0 is in no IOMMU group')]);
    expect(await devices.allocate(pod('a', { 'nvidia.com/T4': '1', 'lab.io/kit': '1' }))).toMatchObject({
      env: { PCI_RESOURCE_NVIDIA_COM_T4: '0000:65:00.0', USB_RESOURCE_LAB_IO_KIT: '1:7,1:9' },
      nodes: ['vfio/vfio', 'vfio/9', 'bus/usb/001/007', 'bus/usb/001/009'],
    });
  });

  it('say when they have changed', async () => {
    const devices = await open();
    expect(await devices.refresh()).toBe(false);
    await writeSysfs(join(root, 'sys'), { functions: NIC });
    await writeFile(join(root, 'config.json'), resourceList(POOL));
    expect(await devices.refresh()).toBe(true);
    expect(await devices.refresh()).toBe(false);
  });
});

describe('parseSriovConfig', () => {
  it.each([
    '{',
    '{}',
    resourceList({}),
    resourceList({ resourceName: 'a b' }),
    resourceList({ ...POOL, selectors: { pfNames: ['e#x'] } }),
  ])('refuses %s', (text) => {
    expect(() => parseSriovConfig(text)).toThrow(/SR-IOV/);
  });
});
