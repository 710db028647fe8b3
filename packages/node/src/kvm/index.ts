export { type KvmProbeDeps, type KvmState, probeKvm, runProbeGuest } from './kvm-probe.ts';
