import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { templateChange, type TemplateChangeInput } from './restart-required.ts';

type InstanceSpec = kubevirt.VirtualMachineInstanceSpec;
type Part = Partial<Omit<InstanceSpec, 'domain'>> & { readonly domain?: Partial<InstanceSpec['domain']> };

const spec = ({ domain, ...rest }: Part = {}): InstanceSpec => ({
  ...rest,
  domain: { cpu: { sockets: 1 }, memory: { guest: '1Gi' }, devices: {}, ...domain },
});
const vm = (part: Part = {}, more: Partial<VirtualMachine['spec']> = {}): VirtualMachine['spec'] => ({
  ...more,
  template: { spec: spec(part) },
});
const running: VirtualMachineInstance = {
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web' },
  spec: spec({ domain: { cpu: { sockets: 1, maxSockets: 4 }, memory: { guest: '1Gi', maxGuest: '4Gi' } } }),
  status: { phase: 'Running', memory: { guestAtBoot: '1Gi' } },
};

const change = (started: VirtualMachine['spec'], current: VirtualMachine['spec'], more: Partial<TemplateChangeInput> = {}) =>
  templateChange({
    ...{ started, current, vmi: running, rolloutStrategy: 'LiveUpdate', volumesFollow: 'template' },
    ...{ cpuAllocationRatio: 10, vmUid: 'u' },
    ...more,
  });
const GENERIC = 'a non-live-updatable field was changed in the template spec: spec.template.spec.';

describe('a template that differs from the start', () => {
  it.each<[string, Part, string | undefined]>([
    ['nothing', {}, undefined],
    ['host name', { hostname: 'x' }, `${GENERIC}hostname`],
    [
      'two fields',
      { hostname: 'x', domain: { machine: { type: 'pc' } } },
      `${GENERIC}domain.machine, spec.template.spec.hostname`,
    ],
    ['one field of the processor', { domain: { cpu: { sockets: 1, cores: 2 } } }, `${GENERIC}domain.cpu.cores`],
    ['more sockets', { domain: { cpu: { sockets: 2 } } }, undefined],
    [
      'more sockets than there is room for',
      { domain: { cpu: { sockets: 9 } } },
      "CPU sockets updated in template spec to a value higher than what's available",
    ],
    ['more memory', { domain: { memory: { guest: '2Gi' } } }, undefined],
    ['a node', { nodeSelector: { disk: 'fast' } }, undefined],
    ['a toleration', { tolerations: [{ operator: 'Exists' }] }, undefined],
  ])('by %s', (_, part, reason) => {
    expect(change(vm(), vm(part)).restartReason).toBe(reason);
  });

  it.each<[string, Part, string | undefined]>([
    ['sockets', { domain: { cpu: { sockets: 2 } } }, `${GENERIC}domain.cpu.sockets`],
    ['memory', { domain: { memory: { guest: '2Gi' } } }, `${GENERIC}domain.memory.guest`],
    ['placement', { nodeSelector: { disk: 'fast' } }, `${GENERIC}nodeSelector`],
  ])('waits with %s when the roll-out is staged', (_, part, restartReason) => {
    expect(change(vm(), vm(part), { rolloutStrategy: 'Stage' })).toMatchObject({ restartReason, liveUpdate: undefined });
  });

  it('gives the running instance what it can take, also while something else waits', () => {
    expect(change(vm(), vm({ hostname: 'x', domain: { cpu: { sockets: 2 } } }))).toMatchObject({
      restartReason: `${GENERIC}hostname`,
      liveUpdate: { domain: { cpu: { sockets: 2 } } },
    });
    expect(change(vm(), vm({ nodeSelector: { disk: 'fast' } })).liveUpdate).toEqual({ nodeSelector: { disk: 'fast' } });
  });

  it('is compared with its types applied', () => {
    const [small, big] = [{ instancetype: { name: 'small' } }, { instancetype: { name: 'big' } }];
    const started = spec();
    const grown = { started, current: spec({ domain: { cpu: { sockets: 4 } } }) };
    expect(change(vm({}, small), vm({}, big), { whole: grown })).toMatchObject({
      restartReason: undefined,
      liveUpdate: { domain: { cpu: { sockets: 4 } } },
    });
    const expanded = { started, current: spec() };
    expect(change(vm({}, small), vm({ hostname: 'same' }), { whole: expanded }).restartReason).toBeUndefined();
    const other = { started, current: spec({ domain: { cpu: { sockets: 1, model: 'host-model' } } }) };
    expect(change(vm({}, small), vm({}, big), { whole: other }).restartReason).toBe(
      `${GENERIC.replace('spec.template.spec.', 'spec.instancetype.name, ')}spec.template.spec.domain.cpu.model`,
    );
  });

  it('is compared by the names of its types when these cannot be found', () => {
    expect(change(vm({}, { preference: { name: 'a' } }), vm({}, { preference: { name: 'b' } })).restartReason).toMatch(
      /spec\.preference\.name$/,
    );
  });
});
