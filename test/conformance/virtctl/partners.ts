// What sits at this end of a stream of a recorded command: viewers, SSH clients, senders of datagrams.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { PassThrough } from 'node:stream';
import { runVirtctl, type VirtctlIo } from '@slipway/cli';

/** Connects as a viewer does and stays until the other side ends. */
function view(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.resume();
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.once('error', () => resolve());
  });
}

/** Called with everything that the command has printed so far; acts when it says that it listens. */
export function listener(): (text: string) => void {
  let isDone = false;
  return (text) => {
    if (isDone) return;
    const vnc = /\{"port":(\d+)\}/.exec(text)?.[1];
    const usb = /usbredir client at: localhost:(\d+)/.exec(text)?.[1];
    const udp = /forwarding udp 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
    const tcp = /forwarding tcp 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
    isDone = (vnc ?? usb ?? udp ?? tcp) !== undefined;
    if (vnc !== undefined || usb !== undefined) void view(Number(vnc ?? usb));
    if (tcp !== undefined)
      connect(Number(tcp), '127.0.0.1')
        .on('error', () => {})
        .write('a request');
    if (udp !== undefined) {
      const socket = createSocket('udp4');
      socket.send('a datagram', Number(udp), '127.0.0.1', () => socket.close());
    }
  };
}

/** The programs that virtctl starts: `io` is for the inner call that ssh makes. */
export const programs =
  (io: VirtctlIo): VirtctlIo['runProgram'] =>
  async (argv) => {
    if (argv[0] === 'usbredirect') {
      const to = argv[argv.indexOf('--to') + 1] ?? '';
      await view(Number(to.slice(to.lastIndexOf(':') + 1)));
      return 0;
    }
    const proxy = argv.find((word) => word.startsWith('ProxyCommand='))?.slice('ProxyCommand='.length);
    if (proxy === undefined) return 0;
    const stdin = new PassThrough();
    stdin.write('SSH-2.0-test\r\n');
    await runVirtctl(proxy.split(' ').slice(1), { ...io, stdin, stdout: new PassThrough().resume() });
    return 255; // nobody has answered as an SSH server
  };
