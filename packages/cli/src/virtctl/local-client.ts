import { createServer, type Server, type Socket } from 'node:net';
import type { MessageStream } from '@slipway/client';
import { CommandFailure, type VirtctlIo } from './io.ts';
import { pump } from './pump.ts';

/** How long the one local client may take to connect, and a guest to run. */
export const CLIENT_TIMEOUT_MS = 60_000;

/** Listens; resolves with the port, which the system chooses for 0. */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/** Resolves when the socket takes more. */
export function writeSocket(socket: Socket, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

/**
 * Lets one client of this machine speak over the stream until either ends, and closes both: the client that `connect` gets
 * at the server, or nobody when it rejects.
 */
export async function bridgeClient(stream: MessageStream, connect: (server: Server) => Promise<Socket>): Promise<void> {
  const server = createServer({ pauseOnConnect: true });
  try {
    const socket = await connect(server);
    server.close();
    socket.resume();
    await pump(stream, { input: socket, write: (data) => writeSocket(socket, data) });
    socket.destroy();
  } finally {
    stream.close(1000);
    server.close();
  }
}

/** The first connection that a listening server gets. */
export function firstClient(server: Server): Promise<Socket> {
  return new Promise((resolve) => server.once('connection', resolve));
}

/** Fails when no client of this kind has come within a minute. */
export async function clientTimeout({ sleep }: VirtctlIo, client: string): Promise<never> {
  await sleep(CLIENT_TIMEOUT_MS);
  throw new CommandFailure(`No ${client} client has connected within a minute`);
}
