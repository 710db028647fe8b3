import { NodeVerb, PersistentVolumeClaimKind, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import {
  type Controller,
  type ControllerRegistration,
  everyMetric,
  type MetricFamily,
  type MetricFilter,
} from '@slipway/runtime';
import { built, node, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { kubeVirtMetrics } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

/** Runs the controller alone, and gives what it shows. */
async function metricsOf(
  prepare: (world: TestWorld) => Promise<unknown>,
  wanted: MetricFilter = everyMetric,
): Promise<readonly MetricFamily[]> {
  let metrics: Controller['metrics'];
  const registration: ControllerRegistration = {
    ...kubeVirtMetrics,
    create(deps) {
      const controller = kubeVirtMetrics.create(deps);
      metrics = controller.metrics;
      return controller;
    },
  };
  world = testWorld({ controllers: [registration] });
  await prepare(world);
  await world.settle();
  return (await metrics?.(wanted)) ?? [];
}

const samples = (families: readonly MetricFamily[], name: string) => families.find((family) => family.name === name)?.samples;
const domain = {
  cpu: { cores: 2 },
  memory: { guest: '1Gi' },
  devices: { interfaces: [{ name: 'default', masquerade: {}, model: 'virtio' }] },
};
const instance = {
  metadata: { uid: 'u1', labels: { 'kubevirt.io/domain': 'a.b' }, creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { domain, networks: [{ name: 'default', pod: {} }] },
  status: {
    phase: 'Running',
    nodeName: 'node1',
    volumeStatus: [{ name: 'rootdisk', target: 'vda' }],
    phaseTransitionTimestamps: [
      { phase: 'Pending', phaseTransitionTimestamp: '2026-01-01T00:00:00Z' },
      { phase: 'Running', phaseTransitionTimestamp: '2026-01-01T00:00:07Z' },
    ],
  },
};

describe('metrics of KubeVirt', () => {
  it('say what VMs are and want', async () => {
    const families = await metricsOf((world_) =>
      world_.with(
        built(PersistentVolumeClaimKind, 'shop/disk', {
          spec: { volumeMode: 'Block' },
          status: { capacity: { storage: '2Gi' } },
        }),
        built(VirtualMachineKind, 'shop/web', {
          metadata: { labels: { 'app.kubernetes.io/name': 'web' } },
          spec: {
            instancetype: { name: 'u1.small' },
            template: {
              metadata: { annotations: { 'vm.kubevirt.io/os': 'rhel9' } },
              spec: {
                domain,
                networks: [{ name: 'default', pod: {} }],
                volumes: [{ name: 'root', persistentVolumeClaim: { claimName: 'disk' } }],
              },
            },
          },
          status: { printableStatus: 'ErrorUnschedulable' },
        }),
      ),
    );
    const id = { name: 'web', namespace: 'shop' };
    expect(samples(families, 'kubevirt_vm_info')).toEqual([
      {
        labels: {
          ...id,
          ...{ os: 'rhel9', workload: '<none>', flavor: '<none>', machine_type: '<none>', instance_type: 'u1.small' },
          ...{ preference: '<none>', status: 'errorunschedulable', status_group: 'error' },
        },
        value: 1,
      },
    ]);
    expect(samples(families, 'kubevirt_vm_labels')?.[0]?.labels).toMatchObject({ label_app_kubernetes_io_name: 'web' });
    expect(samples(families, 'kubevirt_vm_resource_requests')).toContainEqual({
      labels: { ...id, resource: 'memory', unit: 'bytes', source: 'guest' },
      value: 2 ** 30,
    });
    expect(samples(families, 'kubevirt_vm_disk_allocated_size_bytes')).toEqual([
      { labels: { ...id, persistentvolumeclaim: 'disk', volume_mode: 'Block', device: 'root' }, value: 2 ** 31 },
    ]);
    expect(samples(families, 'kubevirt_vm_vnic_info')?.[0]?.labels).toEqual({
      ...id,
      ...{ vnic_name: 'default', binding_type: 'core', network: 'pod networking', binding_name: 'masquerade', model: 'virtio' },
    });
  });

  it.each([
    ['1k', 1],
    ['1000', 1],
    ['0', 0],
    ['soon', 0],
  ])('say of a node with %s devices for KVM that it has KVM: %s', async (devices, expected) => {
    const allocatable = { 'devices.kubevirt.io/kvm': devices };
    const families = await metricsOf((world_) => world_.with(node('node1', { status: { allocatable } })));
    expect(samples(families, 'kubevirt_node_has_kvm')).toEqual([{ labels: { node: 'node1' }, value: expected }]);
  });

  it('ask the node of a running guest for its figures', async () => {
    const stats = {
      domain: {
        'cpu.time': 2e9,
        'balloon.rss': 100,
        'vcpu.0.state': 1,
        'vcpu.0.time': 5e8,
        'net.count': 1,
        'net.0.rx.bytes': 7,
        'block.count': 1,
        'block.0.name': 'vda',
        'block.0.rd.bytes': 4096,
      },
      filesystems: [],
    };
    const families = await metricsOf(async (world_) => {
      world_.nodes.onCall(NodeVerb.stats, ({ name }, host) => (name === 'web' && host === 'node1' ? stats : undefined));
      await world_.with(node('node1'), built(VirtualMachineInstanceKind, 'shop/web', instance));
    });
    const id = { node: 'node1', namespace: 'shop', name: 'web', kubernetes_vmi_label_kubevirt_io_domain: 'a.b' };
    const only = (name: string) => samples(families, name);
    expect(only('kubevirt_vmi_cpu_usage_seconds_total')).toEqual([{ labels: id, value: 2 }]);
    expect(only('kubevirt_vmi_memory_resident_bytes')).toEqual([{ labels: id, value: 102_400 }]);
    expect(only('kubevirt_vmi_vcpu_seconds_total')).toEqual([{ labels: { ...id, id: '0', state: 'running' }, value: 0.5 }]);
    expect(only('kubevirt_vmi_network_receive_bytes_total')).toEqual([{ labels: { ...id, interface: 'default' }, value: 7 }]);
    expect(only('kubevirt_vmi_storage_read_traffic_bytes_total')).toEqual([
      { labels: { ...id, drive: 'rootdisk' }, value: 4096 },
    ]);
    expect(only('kubevirt_vmi_memory_unused_bytes')).toEqual([]);
    expect(only('kubevirt_vmi_phase_transition_time_seconds')).toContainEqual({
      suffix: '_bucket',
      labels: { phase: 'Running', last_phase: 'Pending', le: '10' },
      value: 1,
    });
  });

  it('ask no node when nobody wants figures of guests', async () => {
    const asked: unknown[] = [];
    const families = await metricsOf(
      async (world_) => {
        world_.nodes.onCall(NodeVerb.stats, ({ name }) => {
          asked.push(name);
          return undefined;
        });
        await world_.with(node('node1'), built(VirtualMachineInstanceKind, 'shop/web', instance));
      },
      (name) => name === 'kubevirt_vmi_info',
    );
    expect(samples(families, 'kubevirt_vmi_info')).toHaveLength(1);
    expect(samples(families, 'kubevirt_vmi_cpu_usage_seconds_total')).toBeUndefined();
    expect(asked).toEqual([]);
  });
});
