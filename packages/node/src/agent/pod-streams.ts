import { type Duplex, type Readable, duplexPair } from 'node:stream';
import { type Pod, PodVerb } from '@slipway/api';
import { badRequest, conflict, notFound, StatusError } from '@slipway/apimachinery';
import type { CommandRunner } from '@slipway/hostapi';
import { Channel, type Logger, type NodeCall, type NodeHandlers, readFrames, writeFrame } from '@slipway/runtime';
import { DISK_TOOLS_IMAGE } from '../disk-tools/index.ts';
import { openForward, parseForward } from '../console/index.ts';
import { exitStatus, runCommand } from '../exec/index.ts';
import type { SandboxManager } from '../sandbox/index.ts';
import { imageName } from './pod-dispatcher.ts';

export interface PodStreamSources {
  readonly podOf: (uid: string) => Pod | undefined;
  readonly sandboxes: Pick<SandboxManager, 'find' | 'membershipFiles'>;
  /** Viewer of the serial console of a running guest; undefined when there is none. */
  readonly console: (podUid: string) => Duplex | undefined;
  /** Addresses of a launcher pod, as this node made them; never those that its status claims. */
  readonly addressesOf: (podUid: string) => readonly string[];
  /** Output of a data mover from its start, followed until it ends. */
  readonly followMover: (podUid: string, signal: AbortSignal) => Readable;
  /** Where the API server listens, which answers for the exporter pods. */
  readonly server: { readonly host: string; readonly port: number };
  /** What runs for those who attach to a pod with tools for disk images. */
  readonly toolsCommand: (pod: Pod) => Promise<readonly string[]>;
  readonly runner: CommandRunner;
  readonly log: Logger;
}

const LAUNCHER = 'slipway/virt-launcher';
const EXPORTER = 'slipway/virt-exporter';
/** Target port of the services of exports. */
const EXPORTER_PORT = 8443;

/** Adds exec, attach and port-forward of the platform's pods to the calls that a node answers. */
export function withPodStreams(handlers: NodeHandlers, sources: PodStreamSources): NodeHandlers {
  const streams: Readonly<Record<string, (call: NodeCall, pod: Pod) => Promise<Duplex>>> = {
    [PodVerb.exec]: (call, pod) => openExec(call, pod, sources),
    [PodVerb.attach]: (call, pod) => openAttach(call, pod, sources),
    [PodVerb.portForward]: (call, pod) => openPort(call, pod, sources),
  };
  return {
    call: (call, signal) => handlers.call(call, signal),
    async open(call, signal) {
      const open = Object.hasOwn(streams, call.verb) ? streams[call.verb] : undefined;
      if (open === undefined) return handlers.open(call, signal);
      const pod = sources.podOf(String(call.params['podUid']));
      if (pod === undefined) throw notFound({ group: '', resource: 'pods' }, String(call.params['pod']));
      return open(call, pod);
    },
  };
}

const imageOf = (pod: Pod): string => imageName(pod.spec?.containers[0]?.image ?? '');
const isLauncher = (pod: Pod): boolean => imageOf(pod) === LAUNCHER;

const notRunning = (pod: Pod): StatusError =>
  conflict(
    { group: '', resource: 'pods' },
    pod.metadata.name ?? '',
    `the pod is not running (phase ${pod.status?.phase ?? 'Pending'})`,
  );

/** A pair whose ends die together: the first is for the tunnel. */
function channelPair(): [Duplex, Duplex] {
  const [outer, inner] = duplexPair();
  inner.on('error', () => inner.destroy());
  outer.once('close', () => inner.destroy());
  return [outer, inner];
}

async function openExec({ params }: NodeCall, pod: Pod, { sandboxes, runner, log }: PodStreamSources): Promise<Duplex> {
  if (!isLauncher(pod) && imageOf(pod) !== DISK_TOOLS_IMAGE)
    throw badRequest(
      `pod ${pod.metadata.name} runs a data mover, a process without a sandbox of its own: there is nothing to enter; its output is in its log`,
    );
  const command = params['command'];
  if (!Array.isArray(command) || command.length === 0) throw badRequest('you must specify at least 1 command for the container');
  return run(command.map(String), params, pod, { sandboxes, runner, log });
}

/** A command in the sandbox of the pod. Throws StatusError when there is no sandbox. */
async function run(
  command: readonly string[],
  params: NodeCall['params'],
  pod: Pod,
  { sandboxes, runner, log }: Pick<PodStreamSources, 'sandboxes' | 'runner' | 'log'>,
): Promise<Duplex> {
  const podUid = pod.metadata.uid ?? '';
  const sandbox = await sandboxes.find(podUid);
  if (sandbox === undefined) throw notRunning(pod);
  const [outer, inner] = channelPair();
  const options = { command, stdin: params['stdin'] === true, tty: params['tty'] === true };
  const deps = { sandbox, membershipFiles: sandboxes.membershipFiles(podUid), runner };
  runCommand(deps, options, inner).catch((error: unknown) => {
    log.debug({ pod: pod.metadata.name, error: String(error) }, 'command in a sandbox failed');
    inner.destroy();
  });
  return outer;
}

async function openAttach({ params }: NodeCall, pod: Pod, sources: PodStreamSources): Promise<Duplex> {
  if (imageOf(pod) === DISK_TOOLS_IMAGE) return run(await sources.toolsCommand(pod), params, pod, sources);
  const podUid = pod.metadata.uid ?? '';
  const [outer, inner] = channelPair();
  if (!isLauncher(pod)) {
    const stop = new AbortController();
    outer.once('close', () => stop.abort());
    send(sources.followMover(podUid, stop.signal), inner);
    readInput(inner, () => undefined);
    return outer;
  }
  const console = sources.console(podUid);
  if (console === undefined) throw notRunning(pod);
  outer.once('close', () => console.destroy());
  send(console, inner);
  readInput(inner, (data) => params['stdin'] === true && console.write(data));
  return outer;
}

/** The output of what is attached to, then how it ended. */
function send(source: Readable, inner: Duplex): void {
  const run = async (): Promise<void> => {
    for await (const chunk of source) await writeFrame(inner, Channel.stdout, chunk as Buffer);
    await writeFrame(inner, Channel.status, Buffer.from(JSON.stringify(exitStatus(0))));
    inner.end();
  };
  run().catch(() => inner.destroy());
}

function readInput(inner: Duplex, onData: (data: Uint8Array) => void): void {
  const run = async (): Promise<void> => {
    for await (const { channel, data } of readFrames(inner)) if (channel === Channel.stdin && data.length > 0) onData(data);
  };
  run().catch(() => inner.destroy());
}

async function openPort({ params }: NodeCall, pod: Pod, { addressesOf, server }: PodStreamSources): Promise<Duplex> {
  // nothing listens in an exporter pod: its links lead to the API server, and so does its port
  if (imageOf(pod) === EXPORTER && Number(params['port']) === EXPORTER_PORT)
    return openForward({ address: server.host, port: server.port, protocol: 'tcp' });
  if (!isLauncher(pod)) throw badRequest(`pod ${pod.metadata.name} runs a data mover, which listens on no port`);
  const [address] = addressesOf(pod.metadata.uid ?? '');
  if (address === undefined) throw notRunning(pod);
  return openForward({ ...parseForward({ port: params['port'] }), address });
}
