import { readdir } from 'node:fs/promises';
import { HostError, type IpCommand } from '@slipway/hostapi';
import type { Logger } from '@slipway/runtime';
import type { HostNames } from './host-names.ts';

export interface PodLinksDeps {
  readonly ip: IpCommand;
  readonly names: HostNames;
  readonly log: Logger;
}

/** Links of pods, on the host and in their namespaces. */
export class PodLinks {
  readonly #deps: PodLinksDeps;

  constructor(deps: PodLinksDeps) {
    this.#deps = deps;
  }

  /** Runs the lines that join a pod to the host. A namespace that is there already is the sandbox's and stays. */
  async create(pod: { readonly podUid: string; readonly netns: string }, hostIp: readonly string[], signal: AbortSignal) {
    const { ip, log } = this.#deps;
    const isSandboxed = await this.namespaceExists(pod.netns, signal);
    const lines = hostIp.filter((line) => !isSandboxed || line !== `netns add ${pod.netns}`);
    try {
      await ip.batch(lines, signal);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      // what an agent without records left behind under the same names is in the way
      log.warn({ pod: pod.podUid, error: error.message }, 'pod network has to be made anew');
      if (isSandboxed) await this.empty(pod, signal);
      else await this.remove(pod.podUid, pod.netns, signal);
      await ip.batch(lines, signal);
    }
  }

  /** Removes every link of a pod; its namespace stays, because processes of the sandbox live in it. */
  async empty({ podUid, netns }: { readonly podUid: string; readonly netns: string }, signal: AbortSignal): Promise<void> {
    await this.remove(podUid, undefined, signal);
    if (!(await this.namespaceExists(netns, signal))) return;
    const inside = this.#deps.ip.inNamespace(netns);
    const made = (await inside.links(signal)).filter(({ ifname }) => ifname !== 'lo');
    await this.removeEach(
      made.map(({ ifname }) => `link del ${ifname}`),
      signal,
      inside,
    );
  }

  /** Removes the host's ends of a pod's links, and the namespace if it is named. */
  async remove(podUid: string, netns: string | undefined, signal: AbortSignal): Promise<void> {
    const prefix = this.#deps.names.vethPrefix(podUid);
    const links = (await this.#deps.ip.links(signal)).filter(({ ifname }) => ifname.startsWith(prefix));
    const lines = links.map(({ ifname }) => `link del ${ifname}`);
    if (netns !== undefined && (await this.namespaceExists(netns, signal))) lines.push(`netns del ${netns}`);
    await this.removeEach(lines, signal);
  }

  /** Whether the namespace has all of these links. One of the same name may have been made since without any. */
  async exist(netns: string, names: readonly string[], signal: AbortSignal): Promise<boolean> {
    if (!(await this.namespaceExists(netns, signal))) return false;
    const links = await this.#deps.ip.inNamespace(netns).links(signal);
    return names.every((name) => links.some(({ ifname }) => ifname === name));
  }

  /** Removes one by one: something that is gone already must not keep the rest. */
  async removeEach(lines: readonly string[], signal: AbortSignal, ip = this.#deps.ip): Promise<void> {
    if (lines.length === 0) return;
    try {
      await ip.batch(lines, signal, { force: true });
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#deps.log.debug({ error: error.message }, 'a link or namespace was gone already');
    }
  }

  async namespaceExists(netns: string, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    return (await readdir('/run/netns').catch((): string[] => [])).includes(netns);
  }
}
