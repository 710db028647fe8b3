// Everything a guest can send is bounded: agent answers, console frames, sizes of terminals.
import { fuzz, mutateBytes, mutateJson } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { splitFrames } from '../console/port-forward.ts';
import { parseSize, parseTerminal } from '../exec/index.ts';
import {
  parseAgentInfo,
  parseFileSystems,
  parseHostname,
  parseInterfaces,
  parseOsInfo,
  parseTimezone,
  parseUsers,
} from './answers.ts';
import { readReturn } from './bounded.ts';

const ANSWERS = [
  { return: { version: '8.0', supported_commands: [{ name: 'guest-info', enabled: true }] } },
  { return: { id: 'debian', 'pretty-name': 'Debian 12', 'kernel-release': '6.1' } },
  {
    return: [
      { name: 'eth0', 'hardware-address': '52:54:00:00:00:01', 'ip-addresses': [{ 'ip-address': '10.0.0.2', prefix: 24 }] },
    ],
  },
  { return: [{ name: 'vda1', mountpoint: '/', type: 'ext4', 'used-bytes': 1, 'total-bytes': 2, disk: [{ serial: 'a' }] }] },
  { return: [{ user: 'root', domain: '', 'login-time': 1_700_000_000.5 }] },
  { return: { 'host-name': 'guest' } },
  { return: { zone: 'UTC', offset: 0 } },
];
const PARSERS = [parseAgentInfo, parseOsInfo, parseInterfaces, parseFileSystems, parseUsers, parseHostname, parseTimezone];
const LIMIT = 600_000;

it('bounds every answer of a guest agent', async () => {
  const samples = ANSWERS.map((answer) => Buffer.from(JSON.stringify(answer)));
  await fuzz({
    name: 'guest agent answers',
    inputs: 3000,
    make(random) {
      const answer = mutateJson(random, mutateJson(random, random.pick(ANSWERS)));
      const text = Buffer.from(JSON.stringify(answer));
      return random.chance(0.7) ? text : mutateBytes(random, text, samples);
    },
    run(bytes) {
      const value = readReturn(bytes.toString('utf8'));
      for (const parse of PARSERS) {
        const parsed = JSON.stringify(parse(value)) ?? '';
        expect(parsed.length).toBeLessThan(LIMIT);
        // oxlint-disable-next-line no-control-regex -- none of them may get through
        expect(/[\u0000-\u001f]/.test(parsed)).toBe(false);
      }
    },
  });
});

it('splits frames of any bytes without losing one', async () => {
  await fuzz({
    name: 'console and datagram frames',
    inputs: 3000,
    make: (random) => random.bytes(400),
    run(bytes) {
      const { datagrams, rest } = splitFrames(bytes);
      const total = datagrams.reduce((sum, { length }) => sum + length + 2, rest.length);
      expect(total).toBe(bytes.length);
    },
  });
});

it('takes sizes and names of terminals only when they are such', async () => {
  await fuzz({
    name: 'terminal sizes',
    inputs: 2000,
    make: (random) => JSON.stringify(mutateJson(random, { Width: 80, Height: 24 })) ?? '',
    run(text) {
      const size = parseSize(Buffer.from(text));
      if (size !== undefined) for (const value of Object.values(size)) expect(value).toBeGreaterThan(0);
      expect(parseTerminal(text) ?? '/dev/pts/0').toMatch(/^\/dev\/pts\/\d+$/);
    },
  });
});
