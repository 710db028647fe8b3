// Where VMs go on three nodes, why they wait, and what `slipway node` and `slipway why` make of it.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { idleVm } from './src/manifests.ts';
import { type CommandResult, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: three nodes, and a good many guests, whose processors never run. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const PATIENCE_MS = 180_000;
const VIRTUALIZATION = 'node-role.kubernetes.io/virtualization';

interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; nodeName?: string };
}
interface Vm {
  status?: { printableStatus?: string };
}
interface Node {
  metadata: { labels: Record<string, string> };
  status: { allocatable: Record<string, string> };
}
interface Why {
  state: string;
  scheduling: string;
  nodes: { node: string; isPossible: boolean; reasons: string[]; details: string[] }[];
}
interface Pods {
  items: {
    metadata: { name: string };
    status: { nominatedNodeName?: string };
    spec: { containers: { name: string; resources: { requests: Record<string, string> } }[] };
  }[];
}

/** A VM that is paused before its first instruction: it has its place and costs nothing more. */
function restingVm(name: string, spec: object = {}, options: Parameters<typeof idleVm>[1] = {}): object {
  const vm = structuredClone(idleVm(name, options)) as { spec: { template: { metadata?: object; spec: object } } };
  vm.spec.template.metadata = { labels: { app: name.replace(/-\d+$/, '') } };
  Object.assign(vm.spec.template.spec, { startStrategy: 'Paused', ...spec });
  return vm;
}

const onNode = (node: string): object => ({ nodeSelector: { 'kubernetes.io/hostname': node } });
const asking = (cpu: string): object => ({ resources: { requests: { cpu } } });

describe.runIf(isLong)('on three nodes', () => {
  let platform: Platform;
  let nodes: [string, string, string];

  beforeAll(async () => {
    platform = await startPlatform({ nodes: 3 });
    const names = (await platform.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ').sort();
    expect(names).toHaveLength(3);
    nodes = names as [string, string, string]; // three, as checked
  });
  afterAll(() => platform?.destroy());
  afterEach(async () => {
    await platform.kubectl('delete', 'vm', '--all', '--wait=true', '--timeout=180s');
    for (const node of nodes) await platform.kubectl('uncordon', node);
  });

  const nodeOf = async (name: string, previous = ''): Promise<string> => {
    const isThere = ({ metadata, status }: Vmi): boolean => metadata.uid !== previous && status?.phase === 'Running';
    return (await platform.until<Vmi>(`vmi ${name}`, isThere, PATIENCE_MS)).status?.nodeName ?? '';
  };
  const waits = (name: string): Promise<Vm> =>
    platform.until<Vm>(`vm ${name}`, ({ status }) => status?.printableStatus === 'ErrorUnschedulable', PATIENCE_MS);
  const slipway = (...args: string[]): Promise<CommandResult> => platform.slipway(...args);
  const why = async (name: string): Promise<Why> => {
    const { code, stdout, stderr } = await slipway('why', `vm/${name}`, '-o', 'json');
    expect([code, stderr]).toEqual([3, '']);
    return JSON.parse(stdout);
  };
  const podsOf = async (name: string): Promise<Pods> =>
    JSON.parse(await platform.kubectl('get', 'pods', '-l', `vm.kubevirt.io/name=${name}`, '-o', 'json'));

  it('VMs avoid a node for guests that prefers others, and need a toleration where it insists', async () => {
    const [virt, second, third] = nodes;
    await platform.kubectl('label', 'node', virt, `${VIRTUALIZATION}=`);
    await platform.kubectl('taint', 'node', virt, 'virtualization=true:PreferNoSchedule');
    const chosen = { nodeSelector: { [VIRTUALIZATION]: '' } };
    await platform.apply(restingVm('chosen', chosen));
    expect(await nodeOf('chosen')).toBe(virt);
    await platform.apply(restingVm('plain-1'));
    expect(await nodeOf('plain-1')).not.toBe(virt);
    for (const node of [second, third]) expect((await slipway('node', 'cordon', node)).stdout).toBe(`node/${node} cordoned\n`);
    await platform.apply(restingVm('plain-2'));
    expect(await nodeOf('plain-2')).toBe(virt);

    await platform.kubectl('taint', 'node', virt, 'virtualization-', 'only=guests:NoSchedule');
    await platform.apply(restingVm('refused'));
    await waits('refused');
    const report = await why('refused');
    expect(report.nodes.map(({ node, isPossible, reasons }) => [node, isPossible, reasons.join()])).toEqual([
      [virt, false, 'node(s) had untolerated taint {only: guests}'],
      [second, false, 'node(s) were unschedulable'],
      [third, false, 'node(s) were unschedulable'],
    ]);
    const pod = (await podsOf('refused')).items[0]?.metadata.name;
    const events = await platform.kubectl('get', 'events', '--field-selector', `involvedObject.name=${pod}`);
    expect(events).toContain(`FailedScheduling`);
    expect(events).toContain(report.scheduling);
    const tolerations = [{ key: 'only', operator: 'Equal', value: 'guests', effect: 'NoSchedule' }];
    await platform.apply(restingVm('tolerant', { tolerations }));
    expect(await nodeOf('tolerant')).toBe(virt);
    await platform.kubectl('taint', 'node', virt, 'only-');
    expect((await slipway('node', 'uncordon', second)).stdout).toBe(`node/${second} uncordoned\n`);
    expect(await nodeOf('refused')).toBeTruthy();
  });

  it('NoExecute sends guests away, after the time that they tolerate it', async () => {
    const [first] = nodes;
    await platform.apply(restingVm('leaving', { affinity: preferring(first) }));
    const tolerations = [{ key: 'gone', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 3600 }];
    await platform.apply(restingVm('patient', { affinity: preferring(first), tolerations }));
    expect([await nodeOf('leaving'), await nodeOf('patient')]).toEqual([first, first]);
    const { metadata } = await platform.until<Vmi>('vmi leaving', () => true);
    const patient = await platform.until<Vmi>('vmi patient', () => true);
    await platform.kubectl('taint', 'node', first, 'gone=soon:NoExecute');
    try {
      expect(await nodeOf('leaving', metadata.uid)).not.toBe(first);
      expect((await platform.until<Vmi>('vmi patient', () => true)).metadata.uid).toBe(patient.metadata.uid);
    } finally {
      await platform.kubectl('taint', 'node', first, 'gone-');
    }
  });

  it('VMs of a group are spread over nodes, kept apart, and kept together', async () => {
    const term = (app: string) => ({ labelSelector: { matchLabels: { app } }, topologyKey: 'kubernetes.io/hostname' });
    const constraint = { maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule', ...term('spread') };
    for (const index of [1, 2, 3]) {
      await platform.apply(restingVm(`spread-${index}`, { topologySpreadConstraints: [constraint] }));
      await nodeOf(`spread-${index}`);
    }
    const places = await Promise.all([1, 2, 3].map((index) => nodeOf(`spread-${index}`)));
    expect(new Set(places).size).toBe(3);
    const required = { requiredDuringSchedulingIgnoredDuringExecution: [term('spread')] };
    await platform.apply(restingVm('alone', { affinity: { podAntiAffinity: required } }));
    await waits('alone');
    expect((await why('alone')).scheduling).toContain("3 node(s) didn't match pod anti-affinity rules");
    const many = { ...constraint, ...term('wide'), minDomains: 4 };
    for (const index of [1, 2, 3, 4]) await platform.apply(restingVm(`wide-${index}`, { topologySpreadConstraints: [many] }));
    // three domains where there shall be four: each may hold one more than none
    await platform.until<{ items: Vm[] }>(
      'vm -A',
      ({ items }) => items.filter(({ status }) => status?.printableStatus === 'ErrorUnschedulable').length === 2,
      PATIENCE_MS,
    );
    const friend = { requiredDuringSchedulingIgnoredDuringExecution: [term('alone')] };
    await platform.apply(restingVm('friend', { affinity: { podAffinity: friend } }));
    await waits('friend');
    await platform.kubectl('delete', 'vm', 'spread-1', '--wait=true', '--timeout=120s');
    expect(await nodeOf('friend')).toBe(await nodeOf('alone'));
  });

  it('an important VM takes the room of one that is not', async () => {
    await platform.apply({
      ...{ apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name: 'urgent' }, value: 1000 },
    });
    const { status } = await platform.until<Node>(`node ${nodes[0]}`, () => true);
    // more than half of a node: one on each
    const cpu = `${Math.floor(Number(status.allocatable['cpu']) * 600)}m`;
    for (const [index, node] of nodes.entries()) {
      await platform.apply(restingVm(`low-${index}`, onNode(node), { domain: { ...asking(cpu), ...devices() } }));
      await nodeOf(`low-${index}`);
    }
    await platform.apply(restingVm('equal', {}, { domain: { ...asking(cpu), ...devices() } }));
    await waits('equal');
    const report = await why('equal');
    expect(report.scheduling).toContain('3 Insufficient cpu');
    expect(report.nodes[0]?.details[0]).toMatch(/^cpu: asks for .* free are .* of /);
    await platform.apply(restingVm('urgent', { priorityClassName: 'urgent' }, { domain: { ...asking(cpu), ...devices() } }));
    const place = await nodeOf('urgent');
    expect(nodes).toContain(place);
    const victim = `low-${nodes.indexOf(place)}`;
    await waits(victim);
    const events = await platform.kubectl('get', 'events', '--field-selector', 'reason=Preempted');
    expect(events).toContain(`virt-launcher-${victim}`);
    await platform.kubectl('delete', 'priorityclass', 'urgent');
  });

  it('ratios and limits of the configuration say how much fits on a node', async () => {
    const requestOf = async (name: string, resource: string): Promise<string> =>
      (await podsOf(name)).items[0]?.spec.containers.find((one) => one.name === 'compute')?.resources.requests[resource] ?? '';
    const overcommit = (memory: number, vmiCalcRatio: number): Promise<string> => {
      const spec = {
        higherWorkloadDensity: { memoryOvercommitPercentage: memory },
        resourceRequirements: { vmiCPUAllocationRatio: vmiCalcRatio },
      };
      return platform.kubectl(
        ...['patch', 'hyperconvergeds.v1beta1.hco.kubevirt.io', 'kubevirt-hyperconverged', '-n', 'openshift-cnv'],
        ...['--type=merge', '-p', JSON.stringify({ spec })],
      );
    };
    const configured = (memory: number): Promise<unknown> =>
      platform.until<{ items: { spec: { configuration: { developerConfiguration?: { memoryOvercommit?: number } } } }[] }>(
        'kubevirt -A',
        ({ items }) => items[0]?.spec.configuration.developerConfiguration?.memoryOvercommit === memory,
        PATIENCE_MS,
      );
    await overcommit(100, 10);
    await configured(100);
    await platform.apply(restingVm('full', {}, { domain: { memory: { guest: '1Gi' }, ...devices() } }));
    await nodeOf('full');
    await overcommit(200, 20);
    await configured(200);
    await platform.apply(restingVm('half', {}, { domain: { memory: { guest: '1Gi' }, ...devices() } }));
    await nodeOf('half');
    const [full, half] = [await requestOf('full', 'memory'), await requestOf('half', 'memory')].map(Number.parseFloat);
    expect((full ?? 0) - (half ?? 0)).toBeGreaterThan(500);
    expect([await requestOf('full', 'cpu'), await requestOf('half', 'cpu')]).toEqual(['100m', '50m']);
  });

  it('the workloads placement of HyperConverged says which nodes take guests', async () => {
    const [guests, ...others] = nodes;
    await platform.kubectl('label', 'node', guests, 'rack=guests');
    const place = (nodePlacement: object | null): Promise<string> =>
      platform.kubectl(
        ...['patch', 'hyperconvergeds.v1beta1.hco.kubevirt.io', 'kubevirt-hyperconverged', '-n', 'openshift-cnv'],
        ...['--type=merge', '-p', JSON.stringify({ spec: { workloads: { nodePlacement } } })],
      );
    const schedulable = (node: string, is: string): Promise<Node> =>
      platform.until<Node>(`node ${node}`, ({ metadata }) => metadata.labels['kubevirt.io/schedulable'] === is, PATIENCE_MS);
    await place({ nodeSelector: { rack: 'guests' } });
    for (const node of others) await schedulable(node, 'false');
    await platform.apply(restingVm('placed'));
    expect(await nodeOf('placed')).toBe(guests);
    await slipway('node', 'cordon', guests);
    await platform.apply(restingVm('left-out'));
    await waits('left-out');
    const details = (await why('left-out')).nodes.map((node) => node.details.join());
    expect(details.filter((text) => text.includes('the workloads placement of HyperConverged'))).toHaveLength(2);
    await place({ nodeSelector: null });
    for (const node of others) await schedulable(node, 'true');
    expect(others).toContain(await nodeOf('left-out'));
  });

  it('drain empties a node, says what blocks, and goes on', async () => {
    const [first, second, third] = nodes;
    await platform.apply(restingVm('moving-1', { affinity: preferring(first), evictionStrategy: 'None' }));
    await platform.apply(restingVm('moving-2', { affinity: preferring(first), evictionStrategy: 'External' }));
    expect([await nodeOf('moving-1'), await nodeOf('moving-2')]).toEqual([first, first]);
    const { metadata } = await platform.until<Vmi>('vmi moving-1', () => true);
    const planned = await slipway('node', 'drain', first, '--dry-run');
    expect([planned.code, planned.stdout]).toEqual([
      0,
      'VM default/moving-1 is stopped: it is shut down and started elsewhere, if its run strategy says so\n' +
        'VM default/moving-2 blocks: eviction strategy External: somebody else has to move it\n',
    ]);
    const blocked = await slipway('node', 'drain', first, '--timeout', '8s');
    expect(blocked.code).toBe(1);
    expect(blocked.stderr).toContain(`VM default/moving-1: left ${first}`);
    expect(blocked.stderr).toContain(`still on ${first}: VM default/moving-2: `);
    expect([second, third]).toContain(await nodeOf('moving-1', metadata.uid));
    await platform.kubectl('delete', 'vm', 'moving-2', '--wait=true', '--timeout=120s');
    const drained = await slipway('node', 'drain', first, '--timeout', '120s');
    expect([drained.code, drained.stdout]).toEqual([0, `node/${first} drained\n`]);
    const listed = await slipway('node', 'list');
    expect(listed.stdout).toMatch(new RegExp(`${first} +Ready,SchedulingDisabled +0 `));
    expect((await slipway('node', 'uncordon', first)).stdout).toBe(`node/${first} uncordoned\n`);
  });
});

const devices = (): object => ({
  devices: { disks: [{ name: 'scratch', disk: { bus: 'virtio' } }], interfaces: [{ name: 'default', masquerade: {} }] },
});

function preferring(node: string): object {
  const preference = { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] };
  return { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, preference }] } };
}
