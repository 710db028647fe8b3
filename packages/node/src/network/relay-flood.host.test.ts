// A guest that floods its DHCP server is heard twenty times a second, and the others as ever.
import { execFileSync } from 'node:child_process';
import { streamProcess } from '@slipway/hostapi';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RELAY_PROGRAM } from './relay-program.ts';

const [HOST, LOUD, QUIET] = ['bad-relay', 'bad-loud', 'bad-quiet'];
const ip = (...args: string[]): Buffer => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'ignore'] });
const removeAll = (): void => {
  for (const name of [HOST, LOUD, QUIET]) {
    try {
      ip('netns', 'del', name);
    } catch {
      // not there
    }
  }
};

/** Sends datagrams to the DHCP port of the other side, and then ends. */
const flood = (netns: string, address: string, count: number): Buffer =>
  execFileSync('ip', [
    ...['netns', 'exec', netns, 'perl', '-MSocket', '-e'],
    `socket(my $s, AF_INET, SOCK_DGRAM, 0); send($s, "x" x 300, 0, pack_sockaddr_in(67, inet_aton("${address}"))) for 1..${count}`,
  ]);

beforeEach(() => {
  removeAll();
  for (const name of [HOST, LOUD, QUIET]) ip('netns', 'add', name);
  for (const [index, name] of [LOUD, QUIET].entries()) {
    ip('-n', HOST, 'link', 'add', `p${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    ip('-n', HOST, 'address', 'add', `10.77.${index}.1/24`, 'dev', `p${index}`);
    ip('-n', name, 'address', 'add', `10.77.${index}.2/24`, 'dev', 'eth0');
    ip('-n', HOST, 'link', 'set', `p${index}`, 'up');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
  }
});
afterEach(removeAll);

it('hears a flood twenty times a second, and others meanwhile and afterwards', async () => {
  const stop = new AbortController();
  const relay = streamProcess(['perl', '-e', RELAY_PROGRAM], stop.signal);
  relay.done.catch(() => {});
  try {
    let output = '';
    relay.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const count = (id: string): number => output.split('\n').filter((line) => line.startsWith(`packet ${id} 4 `)).length;
    relay.stdin.write(`open loud ${HOST} p0\nopen quiet ${HOST} p1\n`);
    await expect.poll(() => output, { timeout: 60_000 }).toMatch(/opened loud\nopened quiet/);
    const startMs = Date.now();
    flood(LOUD, '10.77.0.1', 20_000);
    flood(QUIET, '10.77.1.1', 3);
    await expect.poll(() => count('quiet'), { timeout: 60_000 }).toBe(3);
    const seconds = (Date.now() - startMs) / 1000;
    expect(count('loud')).toBeGreaterThan(0);
    expect(count('loud')).toBeLessThanOrEqual(20 * (seconds + 2));
    // what is left of the flood in the kernel is read first
    await expect
      .poll(() => (flood(LOUD, '10.77.0.1', 1), count('loud')), { timeout: 60_000 })
      .toBeGreaterThan(20 * Math.ceil(seconds + 2));
  } finally {
    stop.abort();
    await relay.done.catch(() => {});
  }
});
