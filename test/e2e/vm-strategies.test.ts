import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestPid } from './src/guests.ts';
import { idleVm } from './src/manifests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

interface Vm {
  spec: { runStrategy?: string };
  status?: { printableStatus?: string; stateChangeRequests?: object[]; conditions?: Condition[] };
}
interface Vmi {
  metadata: { uid: string; annotations?: Record<string, string> };
  spec: { startStrategy?: string; domain: { cpu?: { sockets?: number } } };
  status?: { phase?: string; conditions?: Condition[]; currentCPUTopology?: { sockets?: number } };
}
interface Condition {
  type: string;
  status: string;
  message?: string;
}
interface Pod {
  metadata: { labels: Record<string, string>; annotations: Record<string, string> };
}

const SOON_MS = 120_000;
const EVICT = 'descheduler.alpha.kubernetes.io/evict';
const condition = (object: Vm | Vmi, type: string) => object.status?.conditions?.find((entry) => entry.type === type);

/** Guests whose firmware finds nothing to boot: they start at once, and ending them is ending their QEMU. */
describe('run strategies and live updates', () => {
  let platform: Platform;

  beforeAll(async () => {
    platform = await startPlatform();
  });
  afterAll(() => platform?.destroy());

  const virt = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await platform.slipway('virt', ...args);
    expect(code, stderr).toBe(0);
  };
  const running = (name: string, before?: Vmi): Promise<Vmi> =>
    platform.until<Vmi>(
      `vmi ${name}`,
      ({ metadata, status }) => status?.phase === 'Running' && metadata.uid !== before?.metadata.uid,
      SOON_MS,
    );
  const shown = (name: string, printableStatus: string): Promise<Vm> =>
    platform.until<Vm>(`vm ${name}`, ({ status }) => status?.printableStatus === printableStatus, SOON_MS);
  const crash = async (name: string): Promise<void> => {
    process.kill(await guestPid(platform, name), 'SIGKILL');
  };
  const failed = (name: string) => platform.until<Vmi>(`vmi ${name}`, ({ status }) => status?.phase === 'Failed', SOON_MS);
  const remove = (...names: string[]) => platform.kubectl('delete', 'vm', ...names, '--timeout=60s');
  const merge = (name: string, spec: object) =>
    platform.kubectl('patch', 'vm', name, '--type=merge', '-p', JSON.stringify({ spec }));

  it('Halted: starts paused when asked to, and stops for good', async () => {
    await platform.apply(idleVm('halted', { runStrategy: 'Halted' }));
    await shown('halted', 'Stopped');
    await virt('start', 'halted', '--paused');
    expect((await shown('halted', 'Paused')).spec.runStrategy).toBe('Always');
    const vmi = await running('halted');
    expect([vmi.spec.startStrategy, condition(vmi, 'Paused')?.status]).toEqual(['Paused', 'True']);
    await virt('unpause', 'vm', 'halted');
    await shown('halted', 'Running');
    await virt('stop', 'halted');
    expect((await shown('halted', 'Stopped')).spec.runStrategy).toBe('Halted');
    await remove('halted');
  });

  it('Manual: does what it is told, and nothing when the guest crashes', async () => {
    await platform.apply(idleVm('manual', { runStrategy: 'Manual' }));
    await shown('manual', 'Stopped');
    await virt('start', 'manual');
    const first = await running('manual');
    await crash('manual');
    expect((await failed('manual')).metadata.uid).toBe(first.metadata.uid);
    await shown('manual', 'Stopped');
    await virt('start', 'manual');
    const second = await running('manual', first);
    await virt('restart', 'manual', '--force', '--grace-period=0');
    await running('manual', second);
    await virt('stop', 'manual');
    await platform.kubectl('wait', '--for=delete', 'vmi/manual', '--timeout=60s');
    expect((await shown('manual', 'Stopped')).spec.runStrategy).toBe('Manual');
    await remove('manual');
  });

  it('RerunOnFailure: runs again after a crash, and stays stopped when it was stopped', async () => {
    await platform.apply(idleVm('rerun', { runStrategy: 'RerunOnFailure' }));
    const first = await running('rerun');
    await crash('rerun');
    await running('rerun', first);
    await virt('stop', 'rerun');
    await platform.kubectl('wait', '--for=delete', 'vmi/rerun', '--timeout=60s');
    const vm = await shown('rerun', 'Stopped');
    expect([vm.spec.runStrategy, vm.status?.stateChangeRequests]).toEqual(['RerunOnFailure', undefined]);
    await remove('rerun');
  });

  it('Once: runs once; WaitAsReceiver: waits for the guest of another machine', async () => {
    await platform.apply(idleVm('once', { runStrategy: 'Once' }));
    await platform.apply(idleVm('receiver', { runStrategy: 'WaitAsReceiver' }));
    await running('once');
    await crash('once');
    await failed('once');
    await shown('once', 'Stopped');
    const again = await platform.slipway('virt', 'start', 'once');
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('Once does not support manual start requests')]);
    await shown('receiver', 'WaitingForReceiver');
    expect((await platform.until<Vmi>('vmi receiver', () => true)).status?.phase).toBe('WaitingForSync');
    await remove('once', 'receiver');
  });

  it('takes labels and sizes over while the guest runs, and says what needs a restart', async () => {
    const type = (name: string, guest: number) => ({
      apiVersion: 'instancetype.kubevirt.io/v1beta1',
      kind: 'VirtualMachineInstancetype',
      metadata: { name, namespace: 'default' },
      spec: { cpu: { guest }, memory: { guest: '64Mi' } },
    });
    for (const [name, guest] of [['one', 1] as const, ['two', 2] as const]) await platform.apply(type(name, guest));
    const kind = 'VirtualMachineInstancetype';
    await platform.apply(idleVm('live', { instancetype: { name: 'one', kind } }));
    const before = await running('live');
    await merge('live', { template: { metadata: { annotations: { [EVICT]: 'true' } } } });
    await platform.until<Vmi>('vmi live', ({ metadata }) => metadata.annotations?.[EVICT] === 'true', SOON_MS);
    const ofVm = ['-l', 'vm.kubevirt.io/name=live'];
    await platform.until<{ items: Pod[] }>(
      `pods ${ofVm.join(' ')}`,
      ({ items }) => items.length === 1 && items.every(({ metadata }) => metadata.annotations[EVICT] === 'true'),
      SOON_MS,
    );

    await merge('live', { instancetype: { name: 'two', kind, revisionName: null } });
    const grown = await platform.until<Vmi>('vmi live', ({ spec }) => spec.domain.cpu?.sockets === 2, SOON_MS);
    expect(grown.metadata.uid).toBe(before.metadata.uid);
    await merge('live', { template: { spec: { hostname: 'other' } } });
    const waiting = await platform.until<Vm>('vm live', (vm) => condition(vm, 'RestartRequired') !== undefined, SOON_MS);
    expect(condition(waiting, 'RestartRequired')?.message).toMatch(/spec\.template\.spec\.hostname$/);
    await merge('live', { template: { spec: { hostname: null } } });
    await platform.until<Vm>('vm live', (vm) => condition(vm, 'RestartRequired') === undefined, SOON_MS);

    const expanded = JSON.parse((await platform.slipway('virt', 'expand', '--vm', 'live', '-o', 'json')).stdout) as {
      spec: { instancetype?: object; template: { spec: { domain: { cpu: { sockets: number } } } } };
    };
    expect([expanded.spec.instancetype, expanded.spec.template.spec.domain.cpu.sockets]).toEqual([undefined, 2]);
    await remove('live');
  });
});
