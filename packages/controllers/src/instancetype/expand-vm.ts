import type { VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { type ClusterConfig, renderInstance, type RenderInputs } from '@slipway/virt';

/**
 * The VM with instance type and preference written into its template and the matchers removed. A VM without matchers
 * comes back as it is. Throws InstancetypeConflict.
 */
export function expandVm(vm: VirtualMachine, config: ClusterConfig, inputs: RenderInputs): VirtualMachine {
  if (vm.spec.instancetype === undefined && vm.spec.preference === undefined) return vm;
  const { instancetype: _, preference: __, ...spec } = vm.spec;
  const rendered: VirtualMachineInstance = renderInstance(vm, config, inputs);
  return { ...vm, spec: { ...spec, template: { ...spec.template, spec: rendered.spec } } };
}
