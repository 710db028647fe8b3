import type { Duplex } from 'node:stream';
import { PodVerb } from '@slipway/api';
import { StatusError, badRequest, notFound } from '@slipway/apimachinery';
import { admitSubresource } from '../admission/subresource-admission.ts';
import { resourceNotFound } from '../pipeline/resource-handler.ts';
import type { Call } from '../pipeline/server-context.ts';
import { refOf } from '../registry/write-context.ts';
import type { SpdyTransport } from '../spdy/session.ts';
import { execOptions } from '../streaming/exec-options.ts';
import {
  type OpenPort,
  PORT_FORWARD_PROTOCOLS,
  SPDY_PORT_FORWARD,
  TUNNELLED_PORT_FORWARD,
  portsOf,
  serveSpdyPortForward,
  serveWebSocketPortForward,
} from '../streaming/port-forward.ts';
import { relay } from '../streaming/relay.ts';
import { SPDY_EXEC_PROTOCOLS, serveSpdyExec } from '../streaming/spdy-channels.ts';
import type { TextStreamAcceptor } from '../streaming/text-stream.ts';
import { EXEC_PROTOCOLS, isBase64Channel, webSocketChannels } from '../streaming/web-socket-channels.ts';
import { containerOf, nodeOf } from './pod-actions.ts';

/** Takes over a connection that was upgraded to SPDY/3.1. */
export interface SpdyAcceptor {
  /** Chosen among those the client offers. */
  readonly protocol: string;
  run(transport: SpdyTransport): Promise<void>;
}

interface PodStreams {
  readonly subresource: 'exec' | 'attach' | 'portforward';
  open(verb: string, params: Readonly<Record<string, unknown>>): Promise<Duplex>;
}

/** exec, attach and port-forward of pods over WebSocket. Throws StatusError. */
export async function openSubresourceStream(call: Call): Promise<TextStreamAcceptor> {
  const pod = await podStreams(call);
  if (pod.subresource === 'portforward') {
    const ports = portsOf(call.request.query);
    return {
      protocols: PORT_FORWARD_PROTOCOLS,
      run: (stream) =>
        stream.protocol === TUNNELLED_PORT_FORWARD
          ? serveSpdyPortForward(stream, openPort(pod))
          : serveWebSocketPortForward(stream, ports, openPort(pod)),
    };
  }
  const node = await openCommand(call, pod);
  return { protocols: EXEC_PROTOCOLS, isText: isBase64Channel, run: (stream) => relay(webSocketChannels(stream), node) };
}

/** The same over SPDY. Throws StatusError. */
export async function openSpdyStream(call: Call): Promise<SpdyAcceptor> {
  const pod = await podStreams(call);
  const offered = (call.request.headers['x-stream-protocol-version'] ?? '').split(',').map((text) => text.trim());
  const known = pod.subresource === 'portforward' ? [SPDY_PORT_FORWARD] : SPDY_EXEC_PROTOCOLS;
  const protocol = known.find((name) => offered.includes(name));
  if (protocol === undefined) {
    const message = `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(' ')}], server accepts [${known.join(' ')}]`;
    throw new StatusError({ code: 403, reason: 'Forbidden', message });
  }
  if (pod.subresource === 'portforward') {
    return { protocol, run: (transport) => serveSpdyPortForward(transport, openPort(pod)) };
  }
  const options = execOptions(call.request.query, pod.subresource);
  const node = await openCommand(call, pod);
  return {
    protocol,
    async run(transport) {
      await serveSpdyExec(transport, { options, protocol }, (client) => relay(client, node));
      node.destroy();
    },
  };
}

const OPTION_KINDS = { exec: 'PodExecOptions', attach: 'PodAttachOptions', portforward: 'PodPortForwardOptions' } as const;

/** The options of a stream as admission is shown them. */
function streamOptions({ request: { query } }: Call, subresource: PodStreams['subresource'], container: string): object {
  if (subresource === 'portforward') {
    const ports = query.getAll('ports').flatMap((text) => text.split(',').map(Number));
    return ports.length > 0 ? { ports } : {};
  }
  const flags = ['stdin', 'stdout', 'stderr', 'tty'].filter((name) => query.get(name) === 'true' || query.get(name) === '1');
  const command = query.getAll('command');
  return {
    ...Object.fromEntries(flags.map((name) => [name, true])),
    container,
    ...(subresource === 'exec' && { command }),
  };
}

async function podStreams(call: Call): Promise<PodStreams> {
  const { info, request, server } = call;
  const { subresource } = info;
  const definition = server.registry.find(info.group, info.version, info.resource);
  const isStream = subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';
  if (definition === undefined || info.group !== '' || info.resource !== 'pods' || !isStream) throw resourceNotFound();
  const pod = server.registry.get(definition, info.namespace, info.name)?.object;
  if (pod === undefined) throw notFound(refOf(definition), info.name);
  const node = nodeOf(pod);
  const container = containerOf(pod, request.query.get('container') ?? firstContainer(pod, subresource));
  const kind = { group: '', version: 'v1', kind: OPTION_KINDS[subresource] };
  const body = streamOptions(call, subresource, container);
  await admitSubresource(call, definition, { operation: 'CONNECT', subresource, kind, body });
  const key = { namespace: info.namespace, pod: info.name, podUid: pod.metadata.uid, container };
  return {
    subresource,
    async open(verb, params) {
      if (server.nodes === undefined)
        throw new StatusError({
          code: 503,
          reason: 'ServiceUnavailable',
          message: `node ${JSON.stringify(node)} is not connected`,
        });
      const stream = await server.nodes.open(node, { verb, params: { ...params, ...key } }, request.signal);
      stream.on('error', () => stream.destroy());
      const onGone = (): void => void stream.destroy();
      if (request.signal.aborted) onGone();
      request.signal.addEventListener('abort', onGone, { once: true });
      stream.once('close', () => request.signal.removeEventListener('abort', onGone));
      return stream;
    },
  };
}

/** Ports belong to the pod as a whole. */
function firstContainer(pod: { readonly [field: string]: unknown }, subresource: string): string | null {
  if (subresource !== 'portforward') return null;
  const spec = pod['spec'] as { containers?: readonly { name?: string }[] } | undefined; // validated on write
  return spec?.containers?.[0]?.name ?? null;
}

function openCommand({ request }: Call, pod: PodStreams): Promise<Duplex> {
  if (pod.subresource === 'portforward') throw badRequest('port-forward runs no command');
  const options = execOptions(request.query, pod.subresource);
  return pod.open(pod.subresource === 'exec' ? PodVerb.exec : PodVerb.attach, { ...options });
}

const openPort =
  (pod: PodStreams): OpenPort =>
  (port) =>
    pod.open(PodVerb.portForward, { port });
