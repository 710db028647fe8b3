import type { kubevirt } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { nodeFacts, storedInstance } from '../testing.ts';
import { DomainPlanError } from './facts.ts';
import { planDomain, renderDomain } from './plan.ts';

const disk = (name: string, bus: string) => ({ name, disk: { bus } });
const empty = (name: string) => ({ name, emptyDisk: { capacity: '1Gi' } });

describe('planDomain', () => {
  it('names targets per bus family and addresses SCSI disks by position', () => {
    const vmi = storedInstance({
      domain: { devices: { disks: [disk('a', 'virtio'), disk('b', 'sata'), disk('c', 'scsi'), disk('d', 'virtio')] } },
      volumes: ['a', 'b', 'c', 'd'].map(empty),
    });
    const { disks } = planDomain(vmi, nodeFacts(vmi));
    expect(disks.map(({ name, targetDev, scsiUnit }) => [name, targetDev, scsiUnit])).toEqual([
      ['a', 'vda', undefined],
      ['b', 'sda', undefined],
      ['c', 'sdb', 1],
      ['d', 'vdb', undefined],
    ]);
  });

  it('gives each SR-IOV interface the device of its own network, whatever the order', () => {
    const vmi = storedInstance({
      networks: ['one', 'two'].map((name) => ({ name, multus: { networkName: name } })),
      domain: {
        devices: {
          interfaces: [
            { name: 'two', sriov: {}, pciAddress: '0000:09:00.0' },
            { name: 'one', sriov: {} },
          ],
        },
      },
    });
    const interfaces = [
      { name: 'one', device: '0000:03:02.1' },
      { name: 'two', device: '0000:03:02.7' },
    ];
    const xml = renderDomain(planDomain(vmi, { ...nodeFacts(vmi), interfaces }));
    const devices = [...xml.matchAll(/<hostdev [^>]*>[\s\S]*?<\/hostdev>/g)].map(([text]) => text.replaceAll(/\s+/g, ' '));
    expect(devices).toEqual([
      expect.stringMatching(/slot="0x02" function="0x7".*<alias name="ua-sriov-two" ?\/>.*bus="0x09"/),
      expect.stringMatching(/slot="0x02" function="0x1".*<alias name="ua-sriov-one" ?\/>/),
    ]);
    expect(() => planDomain(vmi, { ...nodeFacts(vmi), interfaces: [] })).toThrow(/No SR-IOV device was given to this pod/);
  });

  it('keeps the target that the status already reports', () => {
    const vmi = storedInstance({
      domain: { devices: { disks: [disk('new', 'virtio'), disk('old', 'virtio')] } },
      volumes: [empty('new'), empty('old')],
    });
    vmi.status = {
      ...vmi.status,
      volumeStatus: [
        { name: 'new', target: '' },
        { name: 'old', target: 'vda' },
      ],
    };
    const { disks } = planDomain(vmi, nodeFacts(vmi));
    expect(disks.map(({ targetDev }) => targetDev)).toEqual(['vdb', 'vda']);
  });

  it('shows the guest the licence tables that the node has, and says which it has not', () => {
    const acpi = { slicNameRef: 'licence', msdmNameRef: 'licence' };
    const vmi = storedInstance({ domain: { devices: {}, firmware: { acpi } }, volumes: [empty('licence')] });
    const plan = planDomain(vmi, nodeFacts(vmi, { acpiTables: { slic: '/files/slic.bin' } }));
    expect(renderDomain(plan)).toContain('<table type="slic">/files/slic.bin</table>');
    expect(plan.notes.map(({ message }) => message)).toEqual([expect.stringContaining('table msdm is left out')]);
  });

  it('leaves a hotplugged disk out until its volume is ready', () => {
    const vmi = storedInstance({ domain: { devices: { disks: [disk('hp', 'scsi')] } }, volumes: [empty('hp')] });
    const status = (phase: string) => [{ name: 'hp', target: '', phase, hotplugVolume: {} }];
    vmi.status = { ...vmi.status, volumeStatus: status('AttachedToNode') };
    expect(planDomain(vmi, nodeFacts(vmi)).disks).toEqual([]);
    vmi.status = { ...vmi.status, volumeStatus: status('Ready') };
    expect(planDomain(vmi, nodeFacts(vmi)).disks).toHaveLength(1);
  });

  it('has an empty drive beside disks that the status knows, also while a disc is on its way', () => {
    const disks = [disk('root', 'virtio'), { name: 'tray', cdrom: { bus: 'sata' as const } }];
    const vmi = storedInstance({ domain: { devices: { disks } }, volumes: [empty('root')] });
    const drives = (statuses: object[]): unknown[] => {
      vmi.status = { ...vmi.status, volumeStatus: [{ name: 'root', target: 'vda' }, ...statuses] as kubevirt.VolumeStatus[] };
      return planDomain(vmi, nodeFacts(vmi)).disks.filter(({ device, source }) => device === 'cdrom' && source === undefined);
    };
    expect(drives([])).toHaveLength(1);
    expect(drives([{ name: 'tray', target: '', phase: 'AttachedToNode', hotplugVolume: {} }])).toHaveLength(1);
  });

  it.each([
    ['the one that libvirt knows', ['isa', 'hyperv'], 'isa', 1],
    ['the one asked for', undefined, 'pvpanic', 0],
  ])('writes as the PCI panic device %s', (_, panicModels, model, notes) => {
    const vmi = storedInstance({ domain: { devices: { panicDevices: [{ model: 'pvpanic' }] } } });
    const plan = planDomain(vmi, { ...nodeFacts(vmi), ...(panicModels && { panicModels }) });
    expect(renderDomain(plan)).toContain(`<panic model="${model}"/>`);
    expect(plan.notes.filter(({ reason }) => reason === 'DeviceReplaced')).toHaveLength(notes);
  });

  it('writes taps, addresses and sockets that the node gave', () => {
    const vmi = storedInstance();
    const xml = renderDomain(planDomain(vmi, nodeFacts(vmi)));
    expect(xml).toContain('<target dev="tap0" managed="no"/>');
    expect(xml).toContain('<mac address="02:00:00:00:00:01"/>');
    expect(xml).toContain('<mtu size="1450"/>');
    expect(xml).toContain('<source mode="bind" path="/run/agent"/>');
    expect(xml).toContain('<listen type="socket" socket="/run/vnc"/>');
    expect(xml).toContain('<log file="/run/serial0.log" append="on"/>');
  });

  it('shares memory only when the guest has more of it than the host', () => {
    const vmi = storedInstance({ domain: { memory: { guest: '4Gi' } } });
    const backing = (gibibytes: number) =>
      /<memoryBacking>.*<\/memoryBacking>/s.exec(
        renderDomain(planDomain(vmi, { ...nodeFacts(vmi), hostMemoryBytes: gibibytes * 1024 ** 3 })),
      )?.[0];
    expect(backing(4)).toBeUndefined();
    expect(backing(3)).toMatch(/<source type="memfd"\/>\s*<access mode="shared"\/>/);
  });

  it('runs under software emulation without what only KVM has, and says so', () => {
    const vmi = storedInstance({
      domain: { cpu: { model: 'Haswell' }, features: { hyperv: { spinlocks: { spinlocks: 8191 } } }, devices: {} },
    });
    const facts = nodeFacts(vmi, { accelerator: { kind: 'tcg', tbCacheMiB: 32 } });
    const plan = planDomain(vmi, facts);
    const xml = renderDomain(plan);
    expect(plan.type).toBe('qemu');
    expect(xml).toContain('<cpu mode="maximum">');
    for (const name of ['la57', 'erms', 'fsrm']) expect(xml).toContain(`<feature name="${name}" policy="disable"/>`);
    expect(xml).toContain('<tb-cache unit="MiB">32</tb-cache>');
    expect(xml).not.toContain('hyperv');
    expect(plan.notes.map(({ reason }) => reason)).toEqual(['SoftwareEmulation', 'CpuModelReplaced', 'FeatureLeftOut']);
  });

  it('refuses a node without KVM when emulation is not allowed', () => {
    const vmi = storedInstance();
    const facts = nodeFacts(vmi, { accelerator: { kind: 'tcg' }, allowEmulation: false });
    expect(() => planDomain(vmi, facts)).toThrow(DomainPlanError);
  });

  it('maps an unknown machine type and reports both', () => {
    const vmi = storedInstance({ domain: { machine: { type: 'pc-q35-rhel9.2.0' }, devices: {} } });
    const plan = planDomain(vmi, nodeFacts(vmi, { machineTypes: ['q35', 'pc-q35-6.2', 'pc-q35-7.2', 'pc-q35-8.0'] }));
    expect(plan.machine).toBe('pc-q35-7.2');
    expect(plan.notes[0]?.message).toMatch(/pc-q35-rhel9\.2\.0.*pc-q35-7\.2/);
    expect(vmi.spec.domain.machine?.type).toBe('pc-q35-rhel9.2.0');
  });

  it.each([
    [true, '/fw/CODE.ms.fd', 'yes'],
    [false, '/fw/CODE.fd', 'no'],
  ])('chooses firmware for secureBoot=%s', (secureBoot, code, secure) => {
    const vmi = storedInstance({
      domain: { devices: {}, features: { smm: {} }, firmware: { bootloader: { efi: { secureBoot } } } },
    });
    const xml = renderDomain(planDomain(vmi, nodeFacts(vmi)));
    expect(xml).toContain(`<loader readonly="yes" secure="${secure}" type="pflash">${code}</loader>`);
    expect(xml).toContain('>/state/web_VARS.fd</nvram>');
  });

  it('takes an ordinary EFI build that serves encrypted guests too', () => {
    const vmi = storedInstance({ domain: { devices: {}, firmware: { bootloader: { efi: { secureBoot: false } } } } });
    const build = (code: string, ...features: string[]) => ({ code, vars: '/fw/VARS.fd', architecture: 'x86_64', features });
    const firmware = [build('/fw/secure.fd', 'amd-sev', 'requires-smm', 'secure-boot'), build('/fw/plain.fd', 'amd-sev')];
    const facts = { ...nodeFacts(vmi), firmware };
    expect(renderDomain(planDomain(vmi, facts))).toContain('/fw/plain.fd</loader>');
  });

  it('pins vCPUs thread by thread and keeps one CPU for the emulator', () => {
    const vmi = storedInstance({
      domain: { cpu: { cores: 1, threads: 2, dedicatedCpuPlacement: true, isolateEmulatorThread: true }, devices: {} },
    });
    const cpus = [0, 1, 2, 3].map((id) => ({ id, siblings: id < 2 ? [0, 1] : [2, 3] }));
    const plan = planDomain(vmi, nodeFacts(vmi, { cpuSet: [1, 2, 3], topology: { cells: [{ id: 0, cpus }] } }));
    expect(plan.pins).toEqual({ vcpus: [2, 3], emulator: 1, ioThreads: [] });
  });

  it('makes spare root ports besides those its devices use', () => {
    const vmi = storedInstance();
    const ports = (spareRootPorts: number) =>
      renderDomain(planDomain(vmi, nodeFacts(vmi, { spareRootPorts }))).match(/pcie-root-port/g)?.length ?? 0;
    expect(ports(8) - ports(0)).toBe(8);
  });

  it('uses bochs for EFI guests only where QEMU has it', () => {
    const vmi = storedInstance({ domain: { devices: {}, firmware: { bootloader: { efi: { secureBoot: false } } } } });
    expect(renderDomain(planDomain(vmi, nodeFacts(vmi)))).toContain('<model type="vga"');
    expect(renderDomain(planDomain(vmi, nodeFacts(vmi, { videoModels: ['vga', 'bochs'] })))).toContain('<model type="bochs"');
  });

  it('falls back to writethrough and refuses an impossible cache mode on storage without direct I/O', () => {
    const make = (cache?: string) =>
      storedInstance({
        domain: { devices: { disks: [{ ...disk('a', 'virtio'), ...(cache && { cache }) }] } },
        volumes: [empty('a')],
      });
    const volumes = [{ name: 'a', path: '/disks/a.img', format: 'raw' as const, supportsDirectIO: false }];
    expect(planDomain(make(), nodeFacts(make(), { volumes })).disks[0]?.cache).toBe('writethrough');
    expect(() => planDomain(make('none'), nodeFacts(make('none'), { volumes }))).toThrow(/direct I\/O/);
  });
});
