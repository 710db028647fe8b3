import type { VirtualMachine } from '@slipway/api';

export const RUN_STRATEGIES = ['Always', 'RerunOnFailure', 'Manual', 'Halted', 'Once', 'WaitAsReceiver'] as const;
export type RunStrategy = (typeof RUN_STRATEGIES)[number];

/** What the VM asks for; the older `running` maps to Always and Halted. Admission has made sure that one of both is set. */
export function runStrategyOf(vm: VirtualMachine): RunStrategy {
  const { runStrategy, running } = vm.spec;
  if (running !== undefined) return running ? 'Always' : 'Halted';
  return RUN_STRATEGIES.find((known) => known === runStrategy) ?? 'Halted';
}

/** The field an author uses to say that the VM shall run, with the value that means running or not. */
export function powerField(vm: VirtualMachine, on: boolean): { path: string; from: unknown; to: unknown } {
  return vm.spec.running === undefined
    ? { path: '/spec/runStrategy', from: vm.spec.runStrategy, to: on ? 'Always' : 'Halted' }
    : { path: '/spec/running', from: vm.spec.running, to: on };
}
