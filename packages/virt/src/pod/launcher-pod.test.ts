import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { storedInstance } from '../testing.ts';
import type { LauncherContext } from './context.ts';
import { renderLauncherPod } from './launcher-pod.ts';
import { memoryOverheadBytes } from './overhead.ts';
import { KUBEVIRT_PROFILE, SLIPWAY_PROFILE } from './profile.ts';
import { renderMigrationTargetPod } from './migration-target.ts';
import { renderHotplugPod } from './variants.ts';

const MIB = 1024 * 1024;

const context = (more: Partial<LauncherContext> = {}, configuration: kubevirt.KubeVirtConfiguration = {}): LauncherContext => ({
  config: clusterConfig(configuration),
  profile: SLIPWAY_PROFILE,
  claims: new Map(),
  networkResources: [],
  ...more,
});

const compute = (vmi: VirtualMachineInstance, more?: Partial<LauncherContext>) =>
  renderLauncherPod(vmi, context(more)).spec.containers[0];

describe('renderLauncherPod', () => {
  it('is one container with the image that the node agent recognises', () => {
    const { spec, metadata } = renderLauncherPod(storedInstance(), context());
    expect(spec.containers.map(({ name, image }) => [name, image])).toEqual([['compute', 'slipway/virt-launcher']]);
    expect(metadata.labels).toMatchObject({
      'kubevirt.io': 'virt-launcher',
      'kubevirt.io/created-by': 'uid-1',
      'vmi.kubevirt.io/id': 'web',
    });
    expect(spec.terminationGracePeriodSeconds).toBe(60);
  });

  it('adds the measured overhead to the guest, and the translation cache only under emulation', () => {
    const vmi = storedInstance();
    const kvm = memoryOverheadBytes(vmi, context());
    const tcg = memoryOverheadBytes(vmi, context({ emulation: true }));
    expect(tcg - kvm).toBe(32 * MIB);
    expect(kvm).toBeLessThan(60 * MIB);
    expect(memoryOverheadBytes(vmi, context({ profile: KUBEVIRT_PROFILE }))).toBeGreaterThan(280 * MIB);
  });

  it('asks for no KVM device under emulation', () => {
    expect(compute(storedInstance())?.resources?.limits).toHaveProperty(['devices.kubevirt.io/kvm']);
    expect(compute(storedInstance(), { emulation: true })?.resources?.limits).not.toHaveProperty(['devices.kubevirt.io/kvm']);
  });

  it('gives dedicated CPUs as equal requests and limits of memory and a CPU limit', () => {
    const vmi = storedInstance({
      domain: {
        devices: {},
        memory: { guest: '1Gi' },
        cpu: { cores: 2, dedicatedCpuPlacement: true, isolateEmulatorThread: true },
      },
    });
    const resources = compute(vmi)?.resources;
    expect(resources?.limits?.['cpu']).toBe('3');
    expect(resources?.limits?.['memory']).toBe(resources?.requests?.['memory']);
  });

  it('turns claims into mounts or devices by their volume mode, hotplugged ones into neither', () => {
    const claim = (volumeMode: string) =>
      ({ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: {}, spec: { volumeMode } }) as never; // only the mode is read
    const volumes = ['fs', 'block', 'hot'].map((name) => ({
      name,
      persistentVolumeClaim: { claimName: name, ...(name === 'hot' && { hotpluggable: true }) },
    }));
    const pod = renderLauncherPod(
      storedInstance({ volumes }),
      context({
        claims: new Map([
          ['fs', claim('Filesystem')],
          ['block', claim('Block')],
        ]),
      }),
    );
    const [container] = pod.spec.containers;
    expect(container?.volumeDevices).toEqual([{ name: 'block', devicePath: '/dev/block' }]);
    expect(container?.volumeMounts?.some(({ name }) => name === 'fs')).toBe(true);
    expect(pod.spec.volumes?.some(({ name }) => name === 'hot')).toBe(false);
  });

  it('refuses a device that the cluster does not permit', () => {
    const vmi = storedInstance({ domain: { devices: { gpus: [{ name: 'g', deviceName: 'acme.org/gpu' }] } } });
    expect(() => renderLauncherPod(vmi, context())).toThrow(
      'GPU acme.org/gpu is not permitted in permittedHostDevices configuration',
    );
  });

  it('excludes nodes with an obsolete host model in every alternative of the affinity', () => {
    const term = (key: string) => ({ matchExpressions: [{ key, operator: 'Exists' as const }] });
    const affinity = {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term('a'), term('b')] } },
    };
    const terms = renderLauncherPod(storedInstance({ affinity }), context()).spec.affinity?.nodeAffinity
      ?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
    expect(terms?.map(({ matchExpressions }) => matchExpressions?.length)).toEqual([2, 2]);
  });

  it('shortens long names in the label that services select by', () => {
    const vmi = storedInstance();
    vmi.metadata.name = 'n'.repeat(80);
    const id = renderLauncherPod(vmi, context()).metadata.labels?.['vmi.kubevirt.io/id'];
    expect(id).toMatch(/^n{54}-[0-9a-f]{8}$/);
  });
});

describe('variants', () => {
  it('keeps a migration target away from the source and lets the VMI win over added selectors', () => {
    const vmi = storedInstance({ nodeSelector: { zone: 'a' } });
    const pod = renderMigrationTargetPod(
      vmi,
      { name: 'm', uid: 'm-uid', addedNodeSelector: { zone: 'b', disk: 'ssd' } },
      context(),
    );
    expect(pod.spec.nodeSelector).toMatchObject({ zone: 'a', disk: 'ssd' });
    expect(pod.spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution).toHaveLength(1);
    expect(pod.metadata.labels?.['kubevirt.io/migrationJobUID']).toBe('m-uid');
  });

  it('holds hotplugged claims on the node of the launcher', () => {
    const launcher = { metadata: { name: 'virt-launcher-web-x', uid: 'p' }, spec: { nodeName: 'n1', containers: [] } };
    const pod = renderHotplugPod(storedInstance(), launcher, [{ name: 'data', claimName: 'c', isBlock: true }], context());
    expect(pod.spec.containers[0]?.volumeDevices).toEqual([{ name: 'data', devicePath: '/path/data/' }]);
    expect(JSON.stringify(pod.spec.affinity)).toContain('"values":["n1"]');
  });
});
