import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import type { MessageStream } from '@slipway/client';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, warn } from './io.ts';
import { pump, writeTo } from './pump.ts';
import { parseTarget, pluralOf, type Target } from './target.ts';
import { listen, writeSocket } from './local-client.ts';

export interface ForwardedPort {
  readonly protocol: 'tcp' | 'udp';
  readonly local: number;
  readonly remote: number;
}

interface ForwardFlags {
  readonly stdio?: boolean;
  readonly address: string;
}

const EXAMPLES = `  # Port 8080 of this machine is port 8080 of the guest:
  PROGRAM port-forward vmi/web 8080

  # Port 8080 of this machine is port 80 of the guest:
  PROGRAM port-forward vm/web 8080:80

  # Datagrams, in another namespace:
  PROGRAM port-forward vmi/dns/infra udp/5353:53

  # Standard input and output instead of a port:
  PROGRAM port-forward --stdio=true vm/web 22`;

/** port-forward: local ports, or this program's stdin and stdout, to ports of a guest. */
export function addPortForwardCommand(host: CommandHost): void {
  addCommand<ForwardFlags>(host, {
    usage: 'port-forward [words...]',
    shown: 'type/name[/namespace] [protocol/]localPort[:targetPort]...',
    description: 'Forward local ports to a guest, through the API server.',
    examples: EXAMPLES,
    options: (command) =>
      command
        .option('--stdio', 'connect stdin and stdout to one port')
        .option('--address <string>', 'address of this machine to listen on', '127.0.0.1'),
    run: async (context, [targetText, ...portTexts], flags) => {
      if (targetText === undefined || portTexts.length === 0) {
        const given = targetText === undefined ? 0 : 1;
        warn(
          context.io,
          `fatal: Number of input parameters is incorrect, portforward requires at least 2 arg(s), received ${given}`,
        );
        throw new CommandFailure('argument validation failed');
      }
      const target = parseTarget(targetText);
      const ports = portTexts.map(parsePort);
      if (flags.stdio === true) return forwardStdio(context, target, ports);
      const stops = await Promise.all(
        ports.map((port) => (port.protocol === 'tcp' ? serveTcp : serveUdp)(context, target, port, flags.address)),
      );
      await context.io.interrupted();
      for (const stop of stops) stop();
    },
  });
}

/** `[protocol/]port` or `[protocol/]local:remote`. */
export function parsePort(text: string): ForwardedPort {
  const match = /^(?:([a-z]+)\/)?(\d{1,5})(?::(\d{1,5}))?$/i.exec(text);
  const protocol = (match?.[1] ?? 'tcp').toLowerCase();
  const local = Number(match?.[2]);
  const remote = Number(match?.[3] ?? match?.[2]);
  if (match === null || !(local <= 65_535) || !(remote >= 1 && remote <= 65_535))
    throw new CommandFailure(`invalid port "${text}": use [protocol/]local[:remote]`);
  if (protocol !== 'tcp' && protocol !== 'udp') throw new CommandFailure(`unknown protocol: ${protocol}`);
  return { protocol, local, remote };
}

function dial({ client, namespace }: ActionContext, target: Target, { remote, protocol }: ForwardedPort): Promise<MessageStream> {
  const path = subresourcePath(target.namespace ?? namespace, pluralOf(target), target.name, `portforward/${remote}/${protocol}`);
  return client.connect({ path, protocols: ['plain.kubevirt.io'] });
}

async function forwardStdio(context: ActionContext, target: Target, ports: readonly ForwardedPort[]): Promise<void> {
  const [port] = ports;
  if (port === undefined || ports.length !== 1) throw new CommandFailure('only one port supported when forwarding to stdout');
  const { stdin, stdout } = context.io;
  const stream = await dial(context, target, port);
  await pump(stream, { input: stdin, write: (data) => writeTo(stdout, data) });
  stdin.pause();
}

const describePort = ({ protocol, remote }: ForwardedPort, address: string, local: number): string =>
  `forwarding ${protocol} ${address}:${local} to ${remote}`;

/** Ends a forward and its open connections. */
type Stop = () => void;

async function serveTcp(context: ActionContext, target: Target, port: ForwardedPort, address: string): Promise<Stop> {
  const { io } = context;
  const open = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    carry(context, target, port, socket).catch((error: unknown) => {
      warn(io, `Cannot forward a connection to port ${port.remote}: ${error instanceof Error ? error.message : String(error)}`);
      socket.destroy();
    });
  });
  const local = await listen(server, address, port.local);
  warn(io, describePort(port, address, local));
  return () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
}

async function carry(context: ActionContext, target: Target, port: ForwardedPort, socket: Socket): Promise<void> {
  const stream = await dial(context, target, port);
  socket.resume();
  socket.once('error', () => stream.close(1000));
  await pump(stream, { input: socket, write: (data) => writeSocket(socket, data) });
  socket.end();
}

/** One tunnel per local sender: answers must find their way back to it. */
async function serveUdp(context: ActionContext, target: Target, port: ForwardedPort, address: string): Promise<Stop> {
  const { io } = context;
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const tunnels = new Map<string, Promise<MessageStream>>();
  socket.on('message', (datagram, sender) => {
    const key = `${sender.address}:${sender.port}`;
    let tunnel = tunnels.get(key);
    if (tunnel === undefined) {
      tunnel = dial(context, target, port);
      tunnels.set(key, tunnel);
      tunnel
        .then(async (stream) => {
          for await (const answer of stream.messages) socket.send(answer, sender.port, sender.address);
        })
        .catch((error: unknown) =>
          warn(io, `udp tunnel to ${port.remote} failed: ${error instanceof Error ? error.message : String(error)}`),
        )
        .finally(() => tunnels.delete(key));
    }
    tunnel.then((stream) => stream.send(datagram)).catch(() => {}); // the tunnel's own handler has reported it
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port.local, address, resolve);
  });
  warn(io, describePort(port, address, socket.address().port));
  return () => {
    for (const tunnel of tunnels.values()) tunnel.then((stream) => stream.close(1000)).catch(() => {}); // it has failed already
    socket.close();
  };
}
