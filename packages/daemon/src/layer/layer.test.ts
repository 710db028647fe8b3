import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Label, type Node, type Pod } from '@slipway/api';
import { node, pod } from '@slipway/testkit';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { groupOf } from './belonging.ts';
import { checkLayer, type LayerFacts } from './check-layer.ts';
import { formatLayer } from './format-layer.ts';
import type { FlatHyperConverged } from './layer-kinds.ts';
import { layerObjects, nodeManifest } from './layer-objects.ts';
import { type LayerVariables, readLayerVariables } from './layer-variables.ts';
import { withLongOptions } from './long-options.ts';
import { planPools, POOL_LABEL, POOL_TAINTS } from './plan-pools.ts';
import { readVarFiles } from './read-var-files.ts';

const VIRT = 'node-role.kubernetes.io/virtualization';
const TFVARS = `machine_pools = [
  {
    name          = "virt"
    instance_type = "m5.metal"    # Bare metal required
    replicas      = 2
    labels = {
      "${VIRT}" = ""
    }
    taints = [{
      key           = "virtualization"
      value         = "true"
      schedule_type = "PreferNoSchedule"
    }]
  }
]

enable_layer_virtualization = true

virt_node_selector = { "${VIRT}" = "" }
virt_tolerations   = [{ key = "virtualization", value = "true", effect = "PreferNoSchedule", operator = "Equal" }]
`;

vi.stubEnv('SLIPWAY_ROOT', process.cwd());
afterAll(() => void vi.unstubAllEnvs());
const directory = mkdtempSync(join(tmpdir(), 'slipway-layer-'));
afterAll(() => rmSync(directory, { recursive: true }));

function fileOf(text: string, name = 'layer.tfvars'): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}
const valuesOf = (text: string) => readVarFiles([fileOf(text)]);

async function variablesOf(text: string): Promise<LayerVariables> {
  const read = readLayerVariables(await valuesOf(text));
  if ('faults' in read) throw new Error(read.faults.join('\n'));
  return read.variables;
}

describe('variables', () => {
  it('are read as they are written for Terraform', async () => {
    expect(await variablesOf(TFVARS)).toEqual({
      pools: [
        {
          ...{ name: 'virt', instanceType: 'm5.metal', replicas: 2, labels: { [VIRT]: '' } },
          taints: [{ key: 'virtualization', value: 'true', effect: 'PreferNoSchedule' }],
        },
      ],
      isEnabled: true,
      nodeSelector: { [VIRT]: '' },
      tolerations: [{ key: 'virtualization', value: 'true', effect: 'PreferNoSchedule', operator: 'Equal' }],
      warnings: [],
    });
  });

  it('of a later file win, and a file may be JSON', async () => {
    const json = fileOf('{"enable_layer_virtualization": false, "region": "x"}', 'more.tfvars.json');
    const read = readLayerVariables(await readVarFiles([fileOf(TFVARS), json]));
    expect(read).toMatchObject({
      variables: { isEnabled: false, warnings: ['region is not used here', expect.stringContaining('only the machine pools')] },
    });
  });

  it.each([
    ['a syntax error', 'a = [1,\nb = 2\n', /layer\.tfvars line 2, column \d+: .+/],
    ['a file that is not there', undefined, /Cannot read the variables file .*missing\.tfvars: ENOENT/],
  ] as const)('are refused with the place for %s', async (_, text, message) => {
    const path = text === undefined ? join(directory, 'missing.tfvars') : fileOf(text);
    await expect(readVarFiles([path])).rejects.toMatchObject({ message: expect.stringMatching(message), exitCode: 2 });
  });

  it.each([
    ['machine_pools = [{}]', 'machine_pools[0].name: is missing; for example "virt"'],
    ['machine_pools = [{ name = "virt" }]', 'machine_pools[0].replicas: is missing; say how many nodes the pool has'],
    ['machine_pools = { name = "virt" }', 'machine_pools: {"name":"virt"} is not a list; write [{ … }]'],
    [
      'machine_pools = [{ name = "virt", replicas = "two" }]',
      'machine_pools[0].replicas: "two" is not a number of nodes; write a whole number',
    ],
    [
      'machine_pools = [{ name = "a", replicas = 1 }, { name = "a", replicas = 1 }]',
      'machine_pools[1].name: "a" is the name of another pool; give each its own',
    ],
    [
      'machine_pools = [{ name = "virt", replicas = 1, taints = [{ key = "v", schedule_type = "Never" }] }]',
      'machine_pools[0].taints[0].schedule_type: "Never" is none of NoSchedule, PreferNoSchedule, NoExecute',
    ],
    ['enable_layer_virtualization = "true"', 'enable_layer_virtualization: "true" is not true or false; write it without quotes'],
    ['virt_node_selector = { "a b" = "" }', 'virt_node_selector["a b"]: is no name of a label'],
    ['virt_node_selector = { a = true }', 'virt_node_selector["a"]: true is not text; put it in quotes'],
    ['virt_node_selector = var.selector', 'virt_node_selector: ${var.selector} is an expression; write the value itself'],
    [
      'virt_tolerations = [{ value = "true" }]',
      'virt_tolerations[0].key: is missing; name the taint, or write operator = "Exists" for all',
    ],
    ['virt_tolerations = [{ key = "v", operator = "In" }]', 'virt_tolerations[0].operator: "In" is none of Equal, Exists'],
  ])('name the variable and what to do: %s', async (text, fault) => {
    const read = readLayerVariables(await valuesOf(text));
    expect('faults' in read && read.faults.join('\n')).toContain(fault);
  });

  it('say what may be a mistake', async () => {
    const strange = TFVARS.replace('PreferNoSchedule', 'NoSchedule').replace('virt_node_selector', 'virt_nodes');
    expect((await variablesOf(strange)).warnings).toEqual([
      'virt_nodes is not used here',
      'virt_node_selector is empty: virtualization may use every node',
    ]);
    const untolerated = await variablesOf(TFVARS.replace('"PreferNoSchedule"', '"NoSchedule"'));
    expect(untolerated.warnings).toEqual([
      'virt_tolerations: nothing tolerates virtualization=true:NoSchedule of machine pool virt',
    ]);
  });

  it('follow one dash or two', () => {
    const words = (...args: string[]) => args;
    expect(withLongOptions(words('layer', 'check', '-var-file', 'a', '-var-file=b'))).toEqual(
      words('layer', 'check', '--var-file', 'a', '--var-file=b'),
    );
    expect(withLongOptions(words('virt', '-var-file'))).toEqual(words('virt', '-var-file'));
  });
});

const aNode = (name: string, labels: Record<string, string> = {}, spec: Node['spec'] = {}): Node =>
  node(name, { metadata: { name, labels }, spec }).object as Node;
const TAINT = { key: 'virtualization', value: 'true', effect: 'PreferNoSchedule' } as const;
const inPool = { [POOL_LABEL]: 'virt', [VIRT]: '' };

describe('machine pools', () => {
  const planned = async (nodes: readonly Node[], text = TFVARS) => {
    const { pools } = await variablesOf(text);
    const plan = planPools(pools, nodes);
    return {
      nodes: plan.nodes.map(({ node: { metadata }, pool, taints }) => [
        metadata.name,
        pool?.name,
        taints.map(({ key }) => key).join(),
      ]),
      missing: plan.short.map(({ missing }) => missing),
    };
  };

  it('take the last nodes, and leave the first for everything else', async () => {
    const nodes = [aNode('node-1'), aNode('node-2'), aNode('node-10')];
    expect(await planned(nodes)).toEqual({
      nodes: [
        ['node-10', 'virt', 'virtualization'],
        ['node-2', 'virt', 'virtualization'],
      ],
      missing: [],
    });
  });

  it('take nodes first that are labelled already, and keep those that they have', async () => {
    const nodes = [aNode('a', { [VIRT]: '' }), aNode('b'), aNode('c', inPool)];
    expect((await planned(nodes)).nodes.map(([name]) => name)).toEqual(['a', 'c']);
  });

  it('say how many nodes are missing', async () => {
    expect(await planned([aNode('a')])).toEqual({ nodes: [['a', 'virt', 'virtualization']], missing: [1] });
  });

  it('leave taints of others alone and take away those they had', async () => {
    const former = { key: 'old', effect: 'NoSchedule' };
    const foreign = { key: 'disk', effect: 'NoExecute', timeAdded: '2026-01-01T00:00:00Z' };
    const given = aNode('a', inPool, { taints: [former, foreign] });
    given.metadata.annotations = { [POOL_TAINTS]: JSON.stringify([former]) };
    const { pools } = await variablesOf(TFVARS.replace('= 2', '= 1'));
    const [first] = planPools(pools, [given]).nodes;
    expect(first).toMatchObject({ taints: [foreign, TAINT], hasTaints: false });
    const done = aNode('a', inPool, { taints: [foreign, TAINT] });
    done.metadata.annotations = { [POOL_TAINTS]: JSON.stringify([TAINT]) };
    expect(planPools(pools, [done]).nodes[0]).toMatchObject({ hasTaints: true });
    expect(planPools([], [done]).nodes[0]).toMatchObject({ pool: undefined, labels: {}, taints: [foreign] });
  });

  it('are written as node manifests', async () => {
    const { pools } = await variablesOf(TFVARS);
    const [first] = planPools(pools, [aNode('a')]).nodes.map(nodeManifest);
    expect(first).toEqual({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'a', labels: inPool, annotations: { [POOL_TAINTS]: JSON.stringify([TAINT]) } },
      spec: { taints: [TAINT] },
    });
  });
});

describe('the objects of the layer', () => {
  it('place virtualization by selector and tolerations', async () => {
    const objects = layerObjects(await variablesOf(TFVARS)).map(({ object }) => object);
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? '-'}/${metadata.name}`)).toEqual([
      'Namespace -/openshift-cnv',
      'OperatorGroup openshift-cnv/kubevirt-hyperconverged-group',
      'Subscription openshift-cnv/hco-operatorhub',
      'HyperConverged openshift-cnv/kubevirt-hyperconverged',
    ]);
    const nodePlacement = { nodeSelector: { [VIRT]: '' }, tolerations: [{ ...TAINT, operator: 'Equal' }] };
    expect(objects.at(-1)).toMatchObject({
      apiVersion: 'hco.kubevirt.io/v1beta1',
      spec: { infra: { nodePlacement }, workloads: { nodePlacement } },
    });
  });

  it('are not there when the layer is off', async () => {
    expect(layerObjects(await variablesOf(TFVARS.replace('= true', '= false')))).toEqual([]);
  });
});

const aPod = (name: string, nodeName: string, labels: Record<string, string> = {}): Pod =>
  pod(`shop/${name}`, { metadata: { name, namespace: 'shop', labels }, spec: { nodeName }, status: { phase: 'Running' } })
    .object as Pod;

/** A cluster that is as the variables say. */
async function goodFacts(): Promise<LayerFacts> {
  const pooled = (name: string) => {
    const result = aNode(name, { ...inPool, [Label.schedulable]: 'true' }, { taints: [{ ...TAINT }] });
    result.metadata.annotations = { [POOL_TAINTS]: JSON.stringify([TAINT]) };
    return result;
  };
  const wanted = layerObjects(await variablesOf(TFVARS)).at(-1)?.object as FlatHyperConverged | undefined;
  const good = { ReconcileComplete: 'True', Available: 'True', Progressing: 'False', Degraded: 'False' } as const;
  return {
    nodes: [aNode('a', { [Label.schedulable]: 'false' }), pooled('b'), pooled('c')],
    pods: [
      aPod('virt-launcher-web-x', 'b', { 'kubevirt.io': 'virt-launcher' }),
      aPod('importer-web', 'c', { 'cdi.kubevirt.io': 'importer' }),
      aPod('shop-1', 'a'),
    ],
    hco: {
      ...{ apiVersion: 'hco.kubevirt.io/v1beta1', kind: 'HyperConverged', metadata: { name: 'kubevirt-hyperconverged' } },
      ...(wanted?.spec && { spec: wanted.spec }),
      status: { conditions: Object.entries(good).map(([type, status]) => ({ type, status })) },
    },
    subscription: {
      ...{ apiVersion: 'operators.coreos.com/v1alpha1', kind: 'Subscription', metadata: { name: 'hco' } },
      spec: { name: 'kubevirt-hyperconverged', source: 's', sourceNamespace: 'm' },
      status: { installedCSV: 'csv' },
    },
    versions: [
      {
        ...{ apiVersion: 'operators.coreos.com/v1alpha1', kind: 'ClusterServiceVersion', metadata: { name: 'csv' } },
        spec: { displayName: '', install: { strategy: 'deployment' } },
        status: { phase: 'Succeeded' },
      },
    ],
  };
}

describe('check', () => {
  const findings = async (change: (facts: LayerFacts) => Partial<LayerFacts>, text = TFVARS) => {
    const facts = await goodFacts();
    return checkLayer(await variablesOf(text), { ...facts, ...change(facts) }).findings;
  };

  it('is content with a cluster that is as the variables say, and shows it', async () => {
    const report = checkLayer(await variablesOf(TFVARS), await goodFacts());
    expect(report.findings).toEqual([]);
    expect(formatLayer(report)).toBe(
      [
        'node a',
        '    other  shop/shop-1',
        'node b (machine pool virt; virtualization; taints virtualization=true:PreferNoSchedule)',
        '    guest  shop/virt-launcher-web-x',
        'node c (machine pool virt; virtualization; taints virtualization=true:PreferNoSchedule)',
        '    images and disks  shop/importer-web',
        '',
        'Everything is where it belongs.',
      ].join('\n'),
    );
  });

  it.each([
    [
      'an application on a node for guests',
      { pods: [aPod('shop-1', 'b')] },
      /^pod shop\/shop-1 on b does not belong there: it is no part of virtualization; PreferNoSchedule does not/,
    ],
    [
      'a guest elsewhere',
      { pods: [aPod('virt-launcher-x', 'a', { 'kubevirt.io': 'virt-launcher' })] },
      /^pod shop\/virt-launcher-x on a does not belong there: guest has other nodes .* migrate or restart the VM$/,
    ],
    [
      'the handler elsewhere',
      { pods: [aPod('virt-handler-x', 'a', { 'kubevirt.io': 'virt-handler' })] },
      /virt-handler-x on a does not belong there/,
    ],
    ['no HyperConverged', { hco: undefined }, /^there is no HyperConverged in openshift-cnv$/],
    ['no Subscription', { subscription: undefined }, /^there is no Subscription in openshift-cnv$/],
    ['an installation that failed', { versions: [] }, /^Subscription hco: has installed nothing$/],
  ] as const)('reports %s', async (_, change, text) => {
    expect(await findings(() => change)).toEqual([expect.stringMatching(text)]);
  });

  it('reports nodes that are not as their pool', async () => {
    const without = await findings(({ nodes: [a, b, c] }) => ({
      nodes: [a, b, { ...c, spec: {} }].filter((one) => one !== undefined) as Node[],
    }));
    expect(without).toEqual(['node c of machine pool virt lacks the taint virtualization=true:PreferNoSchedule']);
    expect(await findings(({ nodes }) => ({ nodes: nodes.slice(0, 2) }))).toEqual([
      'node a is not in machine pool virt yet; `slipway layer apply` puts it there',
    ]);
    expect(await findings(({ nodes }) => ({ nodes: nodes.slice(1, 2) }))).toEqual([
      'machine pool virt has 1 of 2 nodes; the cluster has no more',
    ]);
  });

  it('reports placement and conditions of the HyperConverged', async () => {
    const [placement, ...more] = await findings(({ hco }) => ({
      hco: { ...hco, spec: { infra: hco?.spec?.infra, workloads: {} } } as FlatHyperConverged,
    }));
    expect([placement, more]).toEqual([
      'HyperConverged spec.workloads.nodePlacement is not what virt_node_selector and virt_tolerations say',
      [],
    ]);
    const conditions = [{ type: 'Available', status: 'False' as const, message: 'KubeVirt is not available: broken' }];
    expect(await findings(({ hco }) => ({ hco: { ...hco, status: { conditions } } as FlatHyperConverged }))).toContain(
      'HyperConverged condition Available is False: KubeVirt is not available: broken',
    );
  });

  it('leaves pods of a cluster alone that belong to each node', () => {
    const daemon = aPod('tuned-x', 'b');
    daemon.metadata.ownerReferences = [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'tuned', uid: 'u', controller: true }];
    expect(
      [daemon, aPod('poller-fedora-image-cron-1', 'b'), aPod('virt-api-1', 'b', { 'kubevirt.io': 'virt-api' })].map(groupOf),
    ).toEqual(['cluster', 'images', 'infrastructure']);
  });
});
