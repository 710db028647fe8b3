import type { AdmissionRequest } from '@slipway/runtime';
import { clusterConfig } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import type { AdmissionDeps } from './deps.ts';
import { simpleHandlers } from './simple-handlers.ts';

describe('a preference with names of old', () => {
  const warningsOf = async (spec: object, kind = 'VirtualMachinePreference'): Promise<readonly string[] | undefined> => {
    const resource = `${kind.toLowerCase()}s`;
    const deps = { config: () => clusterConfig() } as AdmissionDeps; // these handlers read nothing else
    const handler = simpleHandlers(deps).find(({ rules }) => rules.some(({ resources }) => resources.includes(resource)));
    const object = { apiVersion: 'instancetype.kubevirt.io/v1beta1', kind, metadata: { name: 'p', namespace: 'default' }, spec };
    return handler?.validate?.({ operation: 'CREATE', object } as unknown as AdmissionRequest); // what it looks at
  };

  it.each([
    [
      { cpu: { preferredCPUTopology: 'preferCores' } },
      ['spec.cpu.preferredCPUTopology preferCores is deprecated, please use cores instead.'],
    ],
    [{ cpu: { preferredCPUTopology: 'cores' } }, []],
    [
      { firmware: { preferredUseEfi: true, preferredUseSecureBoot: true } },
      [
        'spec.firmware.preferredUseEfi is deprecated, please use spec.firmware.preferredEfi instead.',
        'spec.firmware.preferredUseSecureBoot is deprecated, please use spec.firmware.preferredEfi instead.',
      ],
    ],
    [
      { preferSpreadSocketToCoreRatio: 4 },
      ['spec.preferSpreadSocketToCoreRatio is deprecated, please use spec.cpu.spreadOptions instead.'],
    ],
    [{}, []],
  ])('%j', async (spec, warnings) => {
    expect(await warningsOf(spec)).toEqual(warnings);
    expect(await warningsOf(spec, 'VirtualMachineClusterPreference')).toEqual(warnings);
  });
});
