export { type GuestProbesDeps, runProbes, wasReady } from './guest-probes.ts';
