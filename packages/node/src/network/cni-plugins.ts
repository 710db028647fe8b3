import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandRunner, HostError } from '@slipway/hostapi';
import type { CniAttachment } from './cni.ts';
import type { NetworkConfig, PluginConfig } from './cni-config.ts';

export interface CniPluginsDeps {
  readonly runner: CommandRunner;
  /** Where plugins are looked for, in order. */
  readonly pluginDirs: readonly string[];
}

type Command = 'ADD' | 'DEL' | 'CHECK';

const PLUGIN_TIMEOUT_MS = 30_000;
const ANY_EXIT_CODE = Array.from({ length: 125 }, (_, index) => index + 1);

/** Whether a version of the specification is at least another one. */
export function isSince(version: string, since: string): boolean {
  const [left, right] = [version, since].map((text) => text.split('.').map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Runs the host's CNI plugins as the specification says. Failures are HostErrors with what the plugin said. */
export class CniPlugins {
  readonly #deps: CniPluginsDeps;
  readonly #versions = new Map<string, Promise<readonly string[]>>();

  constructor(deps: CniPluginsDeps) {
    this.#deps = deps;
  }

  async has(type: string): Promise<boolean> {
    return (await this.#locate(type)) !== undefined;
  }

  /** Runs one plugin for one interface and returns its answer. */
  async invoke(
    command: Command,
    { network, plugin }: { readonly network: NetworkConfig; readonly plugin: PluginConfig },
    attachment: CniAttachment,
    previous: unknown,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { podUid, netns, ifname, podNamespace, podName, mac } = attachment;
    return this.#run(
      command,
      { network, plugin, config: invocationConfig(network, plugin, attachment, previous) },
      {
        CNI_CONTAINERID: podUid,
        CNI_NETNS: `/run/netns/${netns}`,
        CNI_IFNAME: ifname,
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${podNamespace};K8S_POD_NAME=${podName};K8S_POD_UID=${podUid};MAC=${mac}`,
      },
      signal,
    );
  }

  /** Lets the plugins of a network remove what belongs to none of these interfaces. Only plugins of version 1.1 can. */
  async collectGarbage(
    network: NetworkConfig,
    valid: readonly Pick<CniAttachment, 'podUid' | 'ifname'>[],
    signal: AbortSignal,
  ): Promise<void> {
    if (network.disableGC || !isSince(network.cniVersion, '1.1.0')) return;
    const attachments = valid.map(({ podUid, ifname }) => ({ containerID: podUid, ifname }));
    for (const plugin of network.plugins) {
      if (!(await this.#supports(plugin.type, '1.1.0', signal))) continue;
      const { name, cniVersion } = network;
      const config = { ...plugin, name, cniVersion, 'cni.dev/valid-attachments': attachments };
      await this.#run('GC', { network, plugin, config }, {}, signal);
    }
  }

  /** A plugin that is not there supports nothing. */
  async #supports(type: string, version: string, signal: AbortSignal): Promise<boolean> {
    const asked = this.#versions.get(type) ?? this.#askVersions(type, signal);
    this.#versions.set(type, asked);
    return (await asked).includes(version);
  }

  async #askVersions(type: string, signal: AbortSignal): Promise<readonly string[]> {
    const path = await this.#locate(type);
    if (path === undefined) return [];
    const options = { stdin: '{"cniVersion":"1.0.0"}', timeoutMs: PLUGIN_TIMEOUT_MS, okExitCodes: ANY_EXIT_CODE };
    const { stdout } = await this.#deps.runner.run([path], { ...options, env: { CNI_COMMAND: 'VERSION' } }, signal);
    const answer: unknown = parseAnswer(stdout);
    const versions = typeof answer === 'object' && answer !== null && 'supportedVersions' in answer && answer.supportedVersions;
    return Array.isArray(versions) ? versions.map(String) : [];
  }

  async #run(
    command: Command | 'GC',
    { network, plugin, config }: { readonly network: NetworkConfig; readonly plugin: PluginConfig; readonly config: object },
    env: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const path = await this.#find(plugin.type);
    const { exitCode, stdout, stderr } = await this.#deps.runner.run(
      [path],
      {
        stdin: JSON.stringify(config),
        timeoutMs: PLUGIN_TIMEOUT_MS,
        okExitCodes: ANY_EXIT_CODE,
        env: { CNI_COMMAND: command, CNI_PATH: this.#deps.pluginDirs.join(':'), ...env },
      },
      signal,
    );
    const answer = parseAnswer(stdout);
    if (exitCode === 0) return answer;
    const said = pluginMessage(answer) ?? (stderr.trim() || stdout.trim().slice(0, 500));
    throw new HostError(`CNI plugin "${plugin.type}" of network "${network.name}" failed: ${said}`, {
      command: `${path} (${command})`,
      exitCode,
      stderrTail: stderr.slice(-2000),
    });
  }

  async #find(type: string): Promise<string> {
    const path = await this.#locate(type);
    if (path !== undefined) return path;
    throw new HostError(
      `CNI plugin "${type}" is not installed in ${this.#deps.pluginDirs.join(' or ')}; install it, on Debian with "apt-get install containernetworking-plugins"`,
      { command: type },
    );
  }

  async #locate(type: string): Promise<string | undefined> {
    for (const directory of this.#deps.pluginDirs) {
      const path = join(directory, type);
      const found = await access(path).then(
        () => true,
        () => false,
      );
      if (found) return path;
    }
    return undefined;
  }
}

/** What a plugin prints is JSON; one that prints anything else has said nothing. */
function parseAnswer(stdout: string): unknown {
  try {
    return stdout.trim() === '' ? undefined : JSON.parse(stdout);
  } catch {
    return undefined;
  }
}

/** Configuration of one plugin of the list, with what its capabilities and its arguments get of the request. */
export function invocationConfig(
  network: NetworkConfig,
  plugin: PluginConfig,
  { mac, request = {} }: Pick<CniAttachment, 'mac' | 'request'>,
  previous: unknown,
): object {
  const { capabilities, ...own } = plugin;
  const can = (capability: string): boolean => capabilities?.[capability] === true;
  const runtimeConfig = {
    ...(can('mac') && { mac }),
    ...(can('ips') && request.ips && { ips: request.ips }),
    ...(can('deviceID') && request.deviceId !== undefined && { deviceID: request.deviceId }),
  };
  // address management that was not told by a capability takes the wish from the arguments
  const cni = { ...request.cniArgs, ...(request.ips && !can('ips') && { ips: request.ips }) };
  return {
    ...own,
    name: network.name,
    cniVersion: network.cniVersion,
    ...(capabilities && { capabilities }),
    ...(Object.keys(runtimeConfig).length > 0 && { runtimeConfig }),
    ...(Object.keys(cni).length > 0 && { args: { ...argsOf(own), cni } }),
    ...(request.deviceId !== undefined && { deviceID: request.deviceId }),
    ...(previous !== undefined && { prevResult: previous }),
  };
}

function argsOf({ args }: Readonly<Record<string, unknown>>): object {
  return typeof args === 'object' && args !== null ? args : {};
}

function pluginMessage(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null || !('msg' in answer)) return undefined;
  const details = 'details' in answer && typeof answer.details === 'string' && answer.details !== '' ? `; ${answer.details}` : '';
  return `${String(answer.msg)}${details}`;
}
