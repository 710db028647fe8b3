import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressGuard } from '@slipway/runtime';

/** A SOCKS proxy of this process for one program: wherever that program is sent, redirects too, the guard is asked. */
export interface GuardedProxy {
  /** With a password that only whoever gets this URL knows. */
  readonly url: string;
  /** Why connections were refused, if any were. */
  readonly refusals: readonly string[];
  close(): Promise<void>;
}

const VERSION = 5;
const PASSWORD_METHOD = 2;
const CONNECT = 1;
const ADDRESS_V4 = 1;
const ADDRESS_NAME = 3;
const ADDRESS_V6 = 4;
const SUCCEEDED = 0;
const FAILED = 1;
const NOT_ALLOWED = 2;
const IDLE_MS = 120_000;

/** Listens on loopback until it is closed. */
export async function guardedProxy(guard: AddressGuard): Promise<GuardedProxy> {
  const password = randomBytes(16).toString('hex');
  const refusals: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    serve(socket, { guard, password, refusals, sockets }).catch(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: `socks5h://git:${password}@127.0.0.1:${port}`,
    refusals,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

interface ProxyState {
  readonly guard: AddressGuard;
  readonly password: string;
  readonly refusals: string[];
  readonly sockets: Set<Socket>;
}

async function serve(socket: Socket, state: ProxyState): Promise<void> {
  const read = reader(socket);
  const [version, methods = 0] = await read(2);
  const offered = await read(methods);
  if (version !== VERSION || !offered.includes(PASSWORD_METHOD)) return void socket.end(Buffer.from([VERSION, 0xff]));
  socket.write(Buffer.from([VERSION, PASSWORD_METHOD]));
  if (!(await isLetIn(read, state.password))) return void socket.end(Buffer.from([1, FAILED]));
  socket.write(Buffer.from([1, SUCCEEDED]));
  const [, command, , type] = await read(4);
  const host = await hostOf(read, type);
  const port = (await read(2)).readUInt16BE();
  if (command !== CONNECT || host === undefined) return void socket.end(reply(FAILED));
  join(socket, await dial(host, port, state));
}

async function isLetIn(read: ReturnType<typeof reader>, password: string): Promise<boolean> {
  const [, userLength = 0] = await read(2);
  await read(userLength);
  const [length = 0] = await read(1);
  const given = await read(length);
  const wanted = Buffer.from(password);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function hostOf(read: ReturnType<typeof reader>, type: number | undefined): Promise<string | undefined> {
  if (type === ADDRESS_V4) return [...(await read(4))].join('.');
  if (type === ADDRESS_NAME) return (await read((await read(1))[0] ?? 0)).toString('latin1').toLowerCase();
  if (type !== ADDRESS_V6) return undefined;
  return (await read(16)).toString('hex').replace(/(.{4})(?!$)/g, '$1:');
}

/** A connection to where the program wants, or the code of the answer that it gets instead. */
async function dial(host: string, port: number, { guard, refusals, sockets }: ProxyState): Promise<Socket | number> {
  try {
    guard.checkHost(host, port);
  } catch (error) {
    refusals.push(error instanceof Error ? error.message : String(error));
    return NOT_ALLOWED;
  }
  const target = connect({ host, port, lookup: guard.lookup });
  sockets.add(target);
  target.once('close', () => sockets.delete(target));
  target.setTimeout(IDLE_MS, () => target.destroy());
  try {
    await once(target, 'connect');
    return target;
  } catch (error) {
    target.destroy();
    if (error instanceof Error && !('code' in error)) refusals.push(error.message);
    return FAILED;
  }
}

function join(socket: Socket, target: Socket | number): void {
  if (typeof target === 'number') return void socket.end(reply(target));
  socket.write(reply(SUCCEEDED));
  target.on('error', () => socket.destroy());
  target.once('close', () => socket.destroy());
  socket.once('close', () => target.destroy());
  socket.pipe(target).pipe(socket);
}

const reply = (code: number): Buffer => Buffer.from([VERSION, code, 0, ADDRESS_V4, 0, 0, 0, 0, 0, 0]);

/** Reads exactly so many bytes at a time; rejects when the other side ends before. */
function reader(socket: Socket): (length: number) => Promise<Buffer> {
  return async (length) => {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      const chunk: unknown = socket.read(length);
      if (Buffer.isBuffer(chunk) && chunk.length === length) return chunk;
      if (socket.readableEnded || socket.destroyed) throw new Error('The connection ended within the greeting');
      await new Promise<void>((resolve) => {
        const settle = (): void => {
          for (const event of ['readable', 'end', 'close']) socket.off(event, settle);
          resolve();
        };
        for (const event of ['readable', 'end', 'close']) socket.on(event, settle);
      });
    }
  };
}
