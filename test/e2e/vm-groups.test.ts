import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1`: two boots of the tiny guest. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';

/** Type of an ELF file that holds the memory of a machine. */
const ET_CORE = 4;

interface Vm {
  metadata: { uid: string };
  status?: {
    printableStatus?: string;
    instancetypeRef?: { name?: string; inferFromVolume?: string; controllerRevisionRef?: { name?: string } };
    memoryDumpRequest?: { phase?: string; message?: string };
  };
}
interface Vmi {
  metadata: { uid: string };
  spec: { hostname?: string; domain: { memory?: { guest?: string } } };
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
}

const isTrue = (vmi: Vmi, type: string): boolean =>
  vmi.status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;

const objects = (url: string): readonly object[] => [
  {
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataVolume',
    metadata: {
      name: 'golden',
      namespace: 'default',
      labels: {
        'instancetype.kubevirt.io/default-instancetype': 'nano',
        'instancetype.kubevirt.io/default-instancetype-kind': 'VirtualMachineInstancetype',
      },
      annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' },
    },
    spec: { source: { http: { url } }, storage: { resources: { requests: { storage: '128Mi' } } } },
  },
  {
    apiVersion: 'instancetype.kubevirt.io/v1beta1',
    kind: 'VirtualMachineInstancetype',
    metadata: { name: 'nano', namespace: 'default' },
    spec: { cpu: { guest: 1 }, memory: { guest: '128Mi' } },
  },
  {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'web-password', namespace: 'default' },
    stringData: { slipway: 'changed-by-agent' },
  },
];

const pool = {
  apiVersion: 'pool.kubevirt.io/v1beta1',
  kind: 'VirtualMachinePool',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: 'web' } },
    virtualMachineTemplate: {
      metadata: { labels: { app: 'web' } },
      spec: {
        runStrategy: 'Always',
        instancetype: { inferFromVolume: 'root' },
        dataVolumeTemplates: [
          {
            metadata: { name: 'root' },
            spec: {
              source: { pvc: { namespace: 'default', name: 'golden' } },
              storage: { resources: { requests: { storage: '128Mi' } } },
            },
          },
        ],
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            terminationGracePeriodSeconds: 5,
            accessCredentials: [
              {
                userPassword: { source: { secret: { secretName: 'web-password' } }, propagationMethod: { qemuGuestAgent: {} } },
              },
            ],
            domain: {
              devices: {
                disks: [{ name: 'root', disk: { bus: 'virtio' } }],
                interfaces: [{ name: 'default', masquerade: {} }],
              },
            },
            networks: [{ name: 'default', pod: {} }],
            volumes: [{ name: 'root', dataVolume: { name: 'root' } }],
          },
        },
      },
    },
  },
};

describe.runIf(isLong)('pools, instance types, credentials and memory dumps', () => {
  let platform: Platform;
  let images: ImageServer;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
  });

  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  it('boots a member whose size its volume names', async () => {
    for (const object of [...objects(`${images.url}/tiny.qcow2`), pool]) await platform.apply(object);
    const vmi = await platform.until<Vmi>('vmi web-0', (object) => object.status?.phase === 'Running', 240_000);
    expect(vmi.spec.domain.memory?.guest).toBe('128Mi');
    const vm = await platform.until<Vm>('vm web-0', (object) => object.status?.instancetypeRef !== undefined);
    expect(vm.status?.instancetypeRef).toMatchObject({ name: 'nano', inferFromVolume: 'root' });
    expect(vm.status?.instancetypeRef?.controllerRevisionRef?.name).toMatch(/^web-0-nano-v1beta1-/);
  });

  it('lets in with the password that the agent has set', async () => {
    await platform.until<Vmi>('vmi web-0', (vmi) => isTrue(vmi, 'AccessCredentialsSynchronized'), 240_000);
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'web-0'], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    try {
      await terminal.expect(/Successfully connected/);
      terminal.type('\n');
      await terminal.expect(/login:/, 240_000);
      await terminal.answer('slipway', /[Pp]assword:/);
      await terminal.answer('changed-by-agent', /[$#] /);
    } finally {
      terminal.close();
    }
  });

  it('writes the memory of the guest into a claim', async () => {
    const { code, stderr } = await platform.slipway(
      ...['virt', 'memory-dump', 'get', 'web-0', '--claim-name', 'web-memory', '--create-claim'],
    );
    expect(code, stderr).toBe(0);
    const isOver = ({ status }: Vm): boolean => ['Completed', 'Failed'].includes(status?.memoryDumpRequest?.phase ?? '');
    const vm = await platform.until<Vm>('vm web-0', isOver, 120_000);
    expect(vm.status?.memoryDumpRequest).toMatchObject({ phase: 'Completed' });
    const output = join(platform.dataDir, 'dump.tar.gz');
    const download = await platform.slipway(...['virt', 'memory-dump', 'download', 'web-0', '--output', output]);
    expect(download.code, download.stderr).toBe(0);
    const core = spawnSync('sh', ['-c', `tar -xzOf '${output}' | head -c 64`]).stdout;
    expect([core.subarray(0, 4).toString('latin1'), core.readUInt16LE(16)]).toEqual(['\x7fELF', ET_CORE]);
    const removal = await platform.slipway('virt', 'memory-dump', 'remove', 'web-0');
    expect(removal.code, removal.stderr).toBe(0);
    await platform.until<Vm>('vm web-0', ({ status }) => status?.memoryDumpRequest === undefined, 120_000);
  });

  it('restarts the guest for a new template, and goes with everything', async () => {
    const before = await platform.until<Vmi>('vmi web-0', () => true);
    await platform.apply({
      ...pool,
      spec: {
        ...pool.spec,
        virtualMachineTemplate: {
          ...pool.spec.virtualMachineTemplate,
          spec: {
            ...pool.spec.virtualMachineTemplate.spec,
            template: {
              ...pool.spec.virtualMachineTemplate.spec.template,
              spec: { ...pool.spec.virtualMachineTemplate.spec.template.spec, hostname: 'shop' },
            },
          },
        },
      },
    });
    const isNew = ({ metadata, status }: Vmi): boolean => metadata.uid !== before.metadata.uid && status?.phase === 'Running';
    const after = await platform.until<Vmi>('vmi web-0', isNew, 120_000);
    expect(after.spec.hostname).toBe('shop');
    await platform.kubectl('delete', 'vmpool', 'web');
    await platform.kubectl('wait', '--for=delete', 'vm/web-0', '--timeout=120s');
  });
});
