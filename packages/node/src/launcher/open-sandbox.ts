import type { PodNetworkStatus, Sandbox } from '../contracts.ts';
import type { RunningSandbox } from '../sandbox/index.ts';
import { isAwaited } from './guest-moves.ts';
import { limitsOf } from './launch-parts.ts';
import type { LaunchView } from './launch-view.ts';

export interface OpenSandbox {
  readonly sandbox: RunningSandbox;
  readonly network: PodNetworkStatus;
}

/** The sandbox of a launcher pod, found or made, with its network. May be repeated. */
export async function openSandbox(view: LaunchView): Promise<OpenSandbox> {
  const { deps, pod, writer, signal } = view;
  const { sandboxes } = deps;
  const vmi = writer.current;
  const waiting = isAwaited(view) ? deps.migrations?.network : undefined;
  const setUpNetwork = (sandbox: Sandbox): Promise<PodNetworkStatus> =>
    waiting ? waiting.setUpWaiting(pod.current, vmi, sandbox, signal) : deps.network.setUp(pod.current, vmi, sandbox, signal);
  const standing = await sandboxes.find(pod.uid);
  if (standing) return { sandbox: standing, network: await setUpNetwork(standing) };
  let setUp: Promise<PodNetworkStatus> | undefined;
  const onNamespace = (sandbox: Sandbox): void => {
    setUp = setUpNetwork(sandbox);
    setUp.catch(() => {});
  };
  const hostname = pod.current.spec?.hostname ?? pod.current.metadata.name ?? 'guest';
  const guest = { namespace: vmi.metadata.namespace ?? '', name: vmi.metadata.name ?? '' };
  const limits = limitsOf(pod.current, deps.facts);
  const devices = (await deps.devices?.allocate(pod.current))?.nodes ?? [];
  const sandbox = await sandboxes.create({ podUid: pod.uid, hostname, guest, limits, devices, onNamespace }, signal);
  return { sandbox, network: (await setUp) ?? { podIPs: [], interfaces: [] } };
}
