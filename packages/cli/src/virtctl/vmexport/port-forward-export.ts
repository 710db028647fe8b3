import { createServer, type Socket } from 'node:net';
import { type Pod, PodKind, type Service, ServiceKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import type { ActionContext } from '../context.ts';
import { CommandFailure, warn } from '../io.ts';
import { pump } from '../pump.ts';
import { listen, writeSocket } from '../local-client.ts';
import { findExport, type Tell } from './export-object.ts';

const POLL_MS = 2_000;
const SERVICE_PORT = 443;
/** Two channels per port: data, and what went wrong. */
const PROTOCOL = 'v4.channel.k8s.io';
const DATA = 0;
const ERROR = 1;

/** A port of this machine behind which the export server is. */
export interface ExportForward {
  /** Host and port. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Listens on a port of this machine (0: any) and carries its connections through the API server to the pod of the export.
 * Throws CommandFailure when the export has no service or no pod in time.
 */
export async function forwardToExport(
  context: ActionContext,
  name: string,
  localPort: number,
  { timeoutMs, tell }: { readonly timeoutMs: number; readonly tell: Tell },
): Promise<ExportForward> {
  const service = await serviceOf(context, name, timeoutMs, tell);
  const { client, namespace } = context;
  const labelSelector = Object.entries(service.spec?.selector ?? {})
    .map((pair) => pair.join('='))
    .join(',');
  const [pod] = (await client.list(PodKind, { namespace, labelSelector })).items;
  if (pod?.metadata.name === undefined) throw new CommandFailure(`no pods found for the service ${service.metadata.name}`);
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod.metadata.name)}/portforward`;
  const port = targetPort(service, pod);
  const open = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    carry(context, socket, path, port).catch((error: unknown) => {
      warn(context.io, `The port-forward of the export has failed: ${error instanceof Error ? error.message : String(error)}`);
      socket.destroy();
    });
  });
  const address = `127.0.0.1:${await listen(server, '127.0.0.1', localPort)}`;
  tell('Port forwarding is ready.');
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

async function serviceOf(context: ActionContext, name: string, timeoutMs: number, tell: Tell): Promise<Service> {
  const { client, namespace, io } = context;
  const deadline = io.now() + timeoutMs;
  for (;;) {
    const found = await findExport(context, name);
    if (found === undefined) throw new CommandFailure(`unable to get '${namespace}/${name}' VirtualMachineExport`);
    const { phase, serviceName } = found.status ?? {};
    if (phase === 'Ready' && serviceName !== undefined) {
      try {
        const service = await client.get(ServiceKind, { namespace, name: serviceName });
        tell(`service ${serviceName} is ready for port-forwarding`);
        return service;
      } catch (error) {
        if (!isNotFound(error)) throw error;
        tell(`waiting for service ${serviceName} to be ready before port-forwarding...`);
      }
    } else tell(`waiting for VM Export ${name} status to be ready...`);
    if (io.now() >= deadline) throw new CommandFailure(`VM Export ${name} has not become ready for port-forwarding in time`);
    await io.sleep(POLL_MS);
  }
}

/** The pod's port behind port 443 of the service. */
function targetPort(service: Service, pod: Pod): number {
  const port = service.spec?.ports?.find((declared) => declared.port === SERVICE_PORT);
  const target = port?.targetPort ?? SERVICE_PORT;
  if (typeof target === 'number') return target;
  const named = pod.spec?.containers.flatMap(({ ports = [] }) => ports).find((declared) => declared.name === target);
  if (named === undefined) throw new CommandFailure(`the pod of the export has no port named ${target}`);
  return named.containerPort;
}

async function carry({ client }: ActionContext, socket: Socket, path: string, port: number): Promise<void> {
  const stream = await client.connect({ path, query: { ports: String(port) }, protocols: [PROTOCOL] });
  const greeted = new Set<number>();
  let failure = '';
  socket.resume();
  socket.once('error', () => stream.close(1000));
  const data: MessageStream = {
    protocol: stream.protocol,
    messages: stream.messages,
    send: (bytes) => stream.send(Buffer.concat([Buffer.of(DATA), bytes])),
    close: (code, reason) => stream.close(code, reason),
  };
  await pump(data, {
    input: socket,
    write: async (message) => {
      const channel = message[0] ?? DATA;
      // the first message of each channel repeats the port
      if (!greeted.has(channel)) greeted.add(channel);
      else if (channel === ERROR) failure += Buffer.from(message.subarray(1)).toString();
      else await writeSocket(socket, message.subarray(1));
    },
  });
  socket.end();
  if (failure !== '') throw new CommandFailure(failure);
}
