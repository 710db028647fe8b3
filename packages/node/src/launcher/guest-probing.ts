import { runProbes } from '../probes/index.ts';
import { untilWritten } from './launch-retry.ts';
import type { GuestControl, LaunchView } from './launch-view.ts';

/** Runs the probes of the instance, if it has any, until the guest or the agent ends; `onDead` hears why a guest must end. */
export function probeGuest(view: LaunchView, session: GuestControl, onDead: (reason: string) => void): void {
  const { deps, pod, writer } = view;
  const { spec } = writer.current;
  if (spec.readinessProbe === undefined && spec.livenessProbe === undefined) return;
  const ended = new AbortController();
  view.ended.then(() => ended.abort(new Error('The guest has ended'))).catch(() => {});
  const signal = AbortSignal.any([view.signal, ended.signal]);
  const { clock, events, log } = deps;
  const probes = {
    ...{ clock, events, log, onDead },
    pod: () => pod.current,
    instance: () => writer.current,
    addresses: () => pod.addresses,
    libvirt: () => session.libvirt(),
    domain: () => session.domain(),
    setReady: (isReady: boolean) => untilWritten(deps, () => pod.writeReadiness(isReady), signal),
  };
  runProbes(probes, signal).catch((error: unknown) => {
    if (!signal.aborted) log.warn({ pod: pod.key, error: String(error) }, 'probes given up');
  });
}
