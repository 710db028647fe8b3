import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1` also kills the agent meanwhile, plugs a disk in, and gives the memory up. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const BOOT_MS = 240_000;
const MOMENT_MS = 120_000;

interface Conditioned {
  metadata: { uid: string };
  status?: {
    phase?: string;
    complete?: boolean;
    printableStatus?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
  };
}

const condition = ({ status }: Conditioned, type: string) => status?.conditions?.find((entry) => entry.type === type);
const has =
  (type: string) =>
  (object: Conditioned): boolean =>
    condition(object, type)?.status === 'True';

/** What only a guest that goes on can know. */
interface Memory {
  readonly bootId: string;
  readonly count: number;
  readonly note: string;
}

describe('a VM that is suspended to disk', () => {
  let platform: Platform;
  let images: ImageServer;
  let manifest: { spec: { template: { spec: { domain: { memory: object } } } } };
  let shell: Terminal;
  let before: Memory;
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    manifest = importedVm('box', `${images.url}/tiny.qcow2`) as typeof manifest;
    await platform.apply(manifest);
    await platform.until<Conditioned>('vmi box', has('AgentConnected'), BOOT_MS);
    shell = console();
    await shell.expect(/login:/, BOOT_MS);
    await shell.answer('demo', /[Pp]assword:/, BOOT_MS);
    await shell.answer('secret', /[$#] /, BOOT_MS);
  }, 480_000);

  afterAll(async () => {
    for (const terminal of terminals) terminal.close();
    await images?.close();
    await platform?.destroy();
  });

  function console(): Terminal {
    const environment = { ...process.env, KUBECONFIG: platform.kubeconfig };
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'box'], environment);
    terminals.push(terminal);
    return terminal;
  }

  const virt = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await platform.slipway('virt', ...args);
    expect(code, stderr).toBe(0);
    return stdout;
  };

  /** Read by the shell that was logged in before: /tmp is in memory. */
  async function memoryIn(terminal: Terminal): Promise<Memory> {
    const line =
      'echo boot:$(cat /proc/sys/kernel/random/boot_id) count:$(cat /tmp/count) note:$(cat /tmp/note); echo over-$((40+2))';
    const printed = await terminal.answer(line, /over-42/, MOMENT_MS);
    const [, bootId = '', count = '', note = ''] = /boot:([0-9a-f-]{36}) count:(\d+) note:(\w+)/.exec(printed) ?? [];
    if (bootId === '') throw new Error(`The guest does not tell what it knows:\n${printed}`);
    return { bootId, count: Number(count), note };
  }

  /** The console of a guest that went on: its shell is there already. */
  async function shellAgain(): Promise<Terminal> {
    const terminal = console();
    await terminal.expect(/Successfully connected/, MOMENT_MS);
    await terminal.answer('', /[$#] /, MOMENT_MS);
    return terminal;
  }

  it('keeps its memory in a claim while it is off', async () => {
    // renamed, so that nobody reads it between being emptied and being written
    const counting =
      '(i=0; while :; do i=$((i+1)); echo $i > /tmp/next; mv /tmp/next /tmp/count; sleep 1; done) & echo first > /tmp/note; sleep 2';
    await shell.answer(`${counting}; echo counts | rev`, /stnuoc/, MOMENT_MS);
    before = await memoryIn(shell);
    shell.close();
    await virt('suspend', 'box');
    const vm = await platform.until<Conditioned>('vm box', has('Suspended'), MOMENT_MS);
    expect(condition(vm, 'Suspended')).toMatchObject({ reason: 'MemoryStateSaved' });
    await platform.until<Conditioned>('vm box', ({ status }) => status?.printableStatus === 'Suspended', MOMENT_MS);
    expect((await platform.tryKubectl('get', 'vmi', 'box')).code).toBe(1);
    expect(await platform.diff(manifest)).toBe('');
  }, 300_000);

  it('has a snapshot that holds its memory', async () => {
    await platform.apply({
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineSnapshot',
      metadata: { name: 'asleep', namespace: 'default' },
      spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'box' } },
    });
    await platform.until<Conditioned>('vmsnapshot asleep', has('Ready'), MOMENT_MS);
  }, 180_000);

  it('goes on where it was, as it was, although it was edited meanwhile', async () => {
    manifest.spec.template.spec.domain.memory = { guest: '160Mi' };
    await platform.apply(manifest);
    await virt('resume', 'box');
    await platform.until<Conditioned>('vmi box', ({ status }) => status?.phase === 'Running', BOOT_MS);
    shell = await shellAgain();
    const after = await memoryIn(shell);
    expect(after).toEqual({ ...before, count: expect.any(Number) });
    expect(after.count).toBeGreaterThanOrEqual(before.count);
    await shell.answer(`until [ $(cat /tmp/count) -gt ${after.count} ]; do sleep 1; done; echo goes | rev`, /seog/, MOMENT_MS);
    await platform.kubectl('wait', 'pvc', 'box-memory-state', '--for=delete', '--timeout=120s');
    const goesOn = (vm: Conditioned): boolean => has('RestartRequired')(vm) && condition(vm, 'Suspended') === undefined;
    const vm = await platform.until<Conditioned>('vm box', goesOn, MOMENT_MS);
    expect(condition(vm, 'RestartRequired')?.message).toContain('memory');
  }, 400_000);

  it('is put back with its memory by a restore', async () => {
    await shell.answer('echo second > /tmp/note; sudo touch /data/later; sync; echo wrote | rev', /etorw/, MOMENT_MS);
    shell.close();
    await platform.kubectl('patch', 'vm', 'box', '--type=merge', '-p', '{"spec":{"runStrategy":"Halted"}}');
    await platform.kubectl('wait', 'vmi', 'box', '--for=delete', '--timeout=240s');
    await platform.apply({
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineRestore',
      metadata: { name: 'awake', namespace: 'default' },
      spec: {
        target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'box' },
        virtualMachineSnapshotName: 'asleep',
      },
    });
    await platform.until<Conditioned>('vmrestore awake', ({ status }) => status?.complete === true, MOMENT_MS);
    await platform.kubectl('patch', 'vm', 'box', '--type=merge', '-p', '{"spec":{"runStrategy":"Always"}}');
    await platform.until<Conditioned>('vmi box', ({ status }) => status?.phase === 'Running', BOOT_MS);
    shell = await shellAgain();
    expect(await memoryIn(shell)).toMatchObject({ bootId: before.bootId, note: 'first' });
    await shell.answer('ls /data/later; echo listed | rev', /No such file[\s\S]*detsil/, MOMENT_MS);
    shell.close();
  }, 600_000);

  describe.runIf(isLong)('also', () => {
    const killAgent = async (): Promise<void> => {
      const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as { nodes: { pid?: number }[] };
      const [pid] = report.nodes.flatMap((node) => node.pid ?? []);
      if (pid === undefined) throw new Error('The agent has no pid');
      process.kill(pid, 'SIGKILL');
    };
    const isRunning = ({ status }: Conditioned): boolean => status?.phase === 'Running';
    const suspended = (): Promise<Conditioned> =>
      platform.until<Conditioned>(
        'vm box',
        (vm) => condition(vm, 'Suspended')?.reason === 'MemoryStateSaved' && condition(vm, 'Suspended')?.status === 'True',
        MOMENT_MS,
      );

    it('goes on with a disk that was plugged in, whenever the agent is killed', async () => {
      await platform.apply({
        apiVersion: 'cdi.kubevirt.io/v1beta1',
        kind: 'DataVolume',
        metadata: { name: 'extra', namespace: 'default' },
        spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '16Mi' } } } },
      });
      await virt('addvolume', 'box', '--volume-name=extra');
      shell = await shellAgain();
      const write =
        'until [ -b /dev/sda ]; do sleep 0.2; done; echo plugged | sudo dd of=/dev/sda conv=sync,fsync; echo wrote | rev';
      await shell.answer(write, /etorw/, MOMENT_MS);
      before = await memoryIn(shell);
      shell.close();
      await virt('suspend', 'box');
      await killAgent();
      await suspended();
      await virt('resume', 'box');
      await platform.until<Conditioned>('vmi box', ({ status }) => status?.phase !== undefined, MOMENT_MS);
      await killAgent();
      await platform.until<Conditioned>('vmi box', isRunning, BOOT_MS);
      shell = await shellAgain();
      const after = await memoryIn(shell);
      expect(after).toMatchObject({ bootId: before.bootId, note: before.note });
      await shell.answer('sudo head -c 7 /dev/sda; echo; echo read | rev', /plugged[\s\S]*daer/, MOMENT_MS);
      shell.close();
      await platform.kubectl('wait', 'pvc', 'box-memory-state', '--for=delete', '--timeout=120s');
    }, 900_000);

    it('boots when its memory was discarded', async () => {
      await virt('suspend', 'box');
      await suspended();
      await virt('discard-memory', 'box');
      await platform.until<Conditioned>('vmi box', has('AgentConnected'), BOOT_MS);
      expect((await platform.tryKubectl('get', 'pvc', 'box-memory-state')).code).toBe(1);
      shell = console();
      await shell.expect(/login:/, BOOT_MS);
      await shell.answer('demo', /[Pp]assword:/, BOOT_MS);
      await shell.answer('secret', /[$#] /, BOOT_MS);
      const printed = await shell.answer('cat /proc/sys/kernel/random/boot_id; echo over-$((40+2))', /over-42/, MOMENT_MS);
      expect(printed).toMatch(/[0-9a-f]{8}-[0-9a-f]{4}/);
      expect(printed).not.toContain(before.bootId);
    }, 900_000);
  });
});
