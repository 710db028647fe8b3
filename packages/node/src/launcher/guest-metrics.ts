import { connectBeneath } from '@slipway/hostapi';
import { guestMemoryBytes, vcpuCount, cpuTopology } from '@slipway/virt';
import type { PreparedVolume } from '../contracts.ts';
import { feedMetrics, metricsDocument, readMetrics } from '../downward-metrics/index.ts';
import { sandboxProcesses } from '../sandbox/index.ts';
import { METRICS_SOCKET } from './domain-facts.ts';
import type { GuestControl, LaunchView } from './launch-view.ts';

/** Tells the running guest of its host, by the disk and the port that its spec asks for, until it ends. */
export function tellMetrics(view: LaunchView, session: GuestControl, volumes: readonly PreparedVolume[]): void {
  const { deps, writer } = view;
  const { devices } = writer.current.spec.domain;
  const source = writer.current.spec.volumes?.find(({ downwardMetrics }) => downwardMetrics !== undefined);
  const diskPath = source && volumes.find(({ name }) => name === source.name)?.path;
  const connect = devices.downwardMetrics === undefined ? undefined : () => connectBeneath(session.sandbox.dir, METRICS_SOCKET);
  if (diskPath === undefined && connect === undefined) return;
  const document = async (): Promise<string> => {
    const { domain } = writer.current.spec;
    const { qemuPids } = await sandboxProcesses(session.sandbox.init.pid);
    const subject = {
      hostName: deps.config.nodeName,
      guestCpus: vcpuCount(cpuTopology(domain)),
      guestMemoryKiB: Math.floor(guestMemoryBytes(domain) / 1024),
      qemuPid: qemuPids[0],
    };
    return metricsDocument(await readMetrics(subject, deps.clock.now()));
  };
  const ended = new AbortController();
  view.ended.then(() => ended.abort(new Error('The guest has ended'))).catch(() => {});
  const signal = AbortSignal.any([view.signal, ended.signal]);
  feedMetrics({ clock: deps.clock, document, diskPath, connect }, signal).catch((error: unknown) => {
    if (!signal.aborted) deps.log.warn({ pod: view.pod.key, error: String(error) }, 'downward metrics not written');
  });
}
