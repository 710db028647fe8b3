import { describe, expect, it } from 'vitest';
import { clusterConfig } from './config.ts';
import { nodeSettings } from './node-settings.ts';

describe('settings of nodes', () => {
  it('have defaults', () => {
    const { obsoleteCpuModels, sharedDevices } = nodeSettings(clusterConfig());
    expect(['qemu64', 'kvm32-v1', 'Conroe'].every((model) => obsoleteCpuModels.has(model))).toBe(true);
    expect(obsoleteCpuModels.has('Opteron_G1')).toBe(false);
    expect(sharedDevices).toBe(1_000);
  });

  it('are what the administrator wrote, entirely', () => {
    const obsoleteCPUModels = { Haswell: true, qemu64: false };
    const settings = nodeSettings(clusterConfig({ obsoleteCPUModels, virtualMachineInstancesPerNode: 12 }));
    expect(settings).toEqual({ obsoleteCpuModels: new Set(['Haswell']), sharedDevices: 12 });
  });
});
