import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LibvirtError } from '../libvirt/index.ts';
import type { AgentProblem } from './agent-problem.ts';
import { parseInterfaces, parseOsInfo, parseUsers } from './answers.ts';
import { MAX_ANSWER_BYTES, readReturn, text } from './bounded.ts';
import { guestAgent } from './guest-agent.ts';

const domain = { name: 'vm', uuid: Buffer.alloc(16), id: 1 };

const agentThatSays = (answers: Record<string, unknown>) =>
  guestAgent(
    {
      async agentCommand(_domain, command) {
        const { execute } = JSON.parse(command) as { execute: string };
        if (!(execute in answers)) throw new Error(`The command ${execute} has not been found`);
        return JSON.stringify({ return: answers[execute] });
      },
    },
    domain,
  );

describe('guest agent', () => {
  it('reports an ordinary guest as KubeVirt does', async () => {
    const agent = agentThatSays({
      'guest-info': { version: '7.2.0', supported_commands: [{ name: 'guest-ping', enabled: true }] },
      'guest-get-osinfo': {
        id: 'debian',
        name: 'Debian GNU/Linux',
        'pretty-name': 'Debian GNU/Linux 12',
        'kernel-release': '6.1',
      },
      'guest-get-timezone': { zone: 'UTC', offset: 0 },
      'guest-get-fsinfo': [
        { name: 'vda2', mountpoint: '/', type: 'ext4', 'used-bytes': 5, 'total-bytes': 9, disk: [{ 'bus-type': 'virtio' }] },
      ],
    });
    expect(await agent.summary()).toEqual({
      guestAgentVersion: '7.2.0',
      supportedCommands: [{ name: 'guest-ping', enabled: true }],
      os: { id: 'debian', name: 'Debian GNU/Linux', prettyName: 'Debian GNU/Linux 12', kernelRelease: '6.1' },
      timezone: 'UTC, 0',
      fsInfo: {
        disks: [
          {
            diskName: 'vda2',
            mountPoint: '/',
            fileSystemType: 'ext4',
            usedBytes: 5,
            totalBytes: 9,
            disk: [{ busType: 'virtio' }],
          },
        ],
      },
    });
  });

  it('lists interfaces with usable addresses', () => {
    const answer = [
      { name: 'lo', 'hardware-address': '00:00:00:00:00:00', 'ip-addresses': [{ 'ip-address': '127.0.0.1' }] },
      {
        name: 'eth0',
        'hardware-address': '02:AA:00:00:00:01',
        'ip-addresses': [{ 'ip-address': '10.0.2.2' }, { 'ip-address': 'fe80::1' }],
      },
    ];
    expect(parseInterfaces(answer)).toEqual([{ interfaceName: 'eth0', mac: '02:aa:00:00:00:01', ipAddresses: ['10.0.2.2'] }]);
  });

  it('stays within bounds whatever a hostile guest answers', () => {
    const flood = Array.from({ length: 10_000 }, (_, index) => ({
      name: `e${index}`,
      'hardware-address': '02:00:00:00:00:00',
      user: 'x',
    }));
    expect(parseInterfaces(flood)).toHaveLength(256);
    expect(parseUsers(flood).length).toBeLessThanOrEqual(256);
    expect(text('\x1b[2Jowned'.repeat(1000))?.length).toBeLessThanOrEqual(256);
    expect(text('\x1b[2J')).toBe('[2J');
    expect(text(`half \ud83d a character, hidden\u200b\u202e marks`)).toBe('half \ufffd a character, hidden marks');
    expect(text(`${'x'.repeat(255)}\u{1f600}`)).toBe(`${'x'.repeat(255)}\ufffd`);
    expect(readReturn('x'.repeat(MAX_ANSWER_BYTES + 1))).toBeUndefined();
    fc.assert(
      fc.property(fc.anything(), (value) => {
        parseOsInfo(value);
        parseInterfaces(value);
        parseUsers(value);
      }),
    );
    fc.assert(fc.property(fc.string(), (answer) => void readReturn(answer)));
  });

  it.each([
    ['x'.repeat(2_000_000), 'AgentAnswerTooLong'],
    ['{"return": ', 'AgentAnswerMalformed'],
    ['[]', 'AgentAnswerMalformed'],
    [`${'['.repeat(400_000)}`, 'AgentAnswerMalformed'],
    [`{"return": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`, undefined],
    [JSON.stringify({ return: Array.from({ length: 10_000 }, () => ({})) }), 'AgentListTooLong'],
    ['{"return": []}', undefined],
    [new LibvirtError('AGENT_COMMAND', 86, 'Guest agent is not responding: timeout'), 'AgentNotAnswering'],
    [new LibvirtError('AGENT_COMMAND', 1, 'internal error: cannot parse json \x1b[2J'), 'AgentAnswerMalformed'],
    [new LibvirtError('AGENT_COMMAND', 1, 'The command guest-get-users has been disabled'), undefined],
    [new Error('The connection to libvirt was closed'), undefined],
  ])('says what is wrong with an answer: %.40s → %s', async (answer, reason) => {
    const problems: AgentProblem[] = [];
    const agentCommand = async (): Promise<string> => {
      if (typeof answer === 'string') return answer;
      throw answer;
    };
    const agent = guestAgent({ agentCommand }, domain, (problem) => problems.push(problem));
    const users = await agent.users().catch(() => []);
    expect(users).toEqual([]);
    expect(problems.map((problem) => problem.reason)).toEqual(reason === undefined ? [] : [reason]);
    for (const { message } of problems) {
      expect(message).toMatch(/guest-get-users.*qemu-guest-agent/);
      expect(message).not.toContain('\x1b');
    }
  });

  it('finds the interfaces of the VM behind hundreds of others', () => {
    const others = Array.from({ length: 200 }, (_, index) => ({
      name: `veth${index}`,
      'hardware-address': `02:00:00:00:00:${(index % 256).toString(16).padStart(2, '0')}`,
    }));
    const own = { name: 'eth0', 'hardware-address': '52:54:00:00:00:01', 'ip-addresses': [{ 'ip-address': '10.0.2.2' }] };
    expect(parseInterfaces([...others, own]).at(-1)).toEqual({
      ...{ interfaceName: 'eth0', mac: '52:54:00:00:00:01', ipAddresses: ['10.0.2.2'] },
    });
  });
});
