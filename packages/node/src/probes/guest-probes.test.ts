import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { silentLogger } from '@slipway/runtime';
import { fakeClock, pod as buildPod, vmi as buildVmi } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { LibvirtError } from '../libvirt/index.ts';
import { probeByAgent } from './agent-probes.ts';
import { runProbes } from './guest-probes.ts';
import type { ProbeAnswer } from './network-probes.ts';

const PASSED: ProbeAnswer = { ok: true, message: '' };
const FAILED: ProbeAnswer = { ok: false, message: 'connection refused' };

/** A guest whose probe answers what is in `answers`, one after the other; the last one stays. */
function world(probes: object, answers: (ProbeAnswer | Error)[], status: VirtualMachineInstance['status'] = {}) {
  const clock = fakeClock();
  const told: string[] = [];
  let asked = 0;
  let vmi = {
    ...buildVmi('vm').object,
    spec: { domain: { devices: {} }, ...probes },
    status: { phase: 'Running', ...status },
  } as VirtualMachineInstance;
  const pod = { ...buildPod('p').object, spec: { containers: [{ name: 'compute', image: 'x' }] } } as Pod;
  const stopping = new AbortController();
  const running = runProbes(
    {
      clock,
      log: silentLogger,
      events: {
        normal: ({ kind }, reason, message) => told.push(`${kind} ${reason} ${message}`),
        warning: ({ kind }, reason, message) => told.push(`${kind} ${reason} ${message}`),
      },
      pod: () => pod,
      instance: () => vmi,
      addresses: () => ['10.244.0.2'],
      libvirt: () => Promise.reject(new Error('not asked')),
      domain: () => Promise.reject(new Error('not asked')),
      setReady: async (isReady) => {
        told.push(`ready ${isReady}`);
      },
      onDead: (message) => told.push(`dead: ${message}`),
      ask: async () => {
        asked++;
        const answer = answers.length > 1 ? answers.shift() : answers[0];
        if (answer instanceof Error) throw answer;
        return answer ?? PASSED;
      },
    },
    stopping.signal,
  ).catch(() => {});
  return {
    told,
    asked: () => asked,
    change: (fields: Partial<VirtualMachineInstance>) => (vmi = { ...vmi, ...fields }),
    /** Lets time pass, period by period. */
    async pass(periods: number) {
      for (let index = 0; index <= periods; index++) {
        await new Promise((resolve) => setImmediate(resolve)); // nothing waits for anything but the clock
        if (index < periods) clock.advance(10_000);
      }
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

describe('the probes of a guest', () => {
  it('make it ready, and not ready again after three failures, each of which is told', async () => {
    const guest = world({ readinessProbe: { tcpSocket: { port: 1 } } }, [FAILED, PASSED, FAILED]);
    await guest.pass(6);
    const told = ['ready true', 'ready false'];
    expect(guest.told.filter((line) => line.startsWith('ready'))).toEqual(told);
    expect(guest.told).toContain('VirtualMachineInstance Unhealthy Readiness probe failed: connection refused');
    expect(guest.told).toContain('Pod Unhealthy Readiness probe failed: connection refused');
    await guest.stop();
  });

  it('tell of a failure that lasts once a minute, and of another answer at once', async () => {
    const other = { ok: false, message: 'statuscode: 404' };
    const guest = world({ readinessProbe: { tcpSocket: { port: 1 } } }, [...Array<ProbeAnswer>(8).fill(FAILED), other, FAILED]);
    await guest.pass(10);
    const told = guest.told.filter((line) => line.startsWith('Pod Unhealthy')).map((line) => line.split('failed: ')[1]);
    expect(told).toEqual(['connection refused', 'connection refused', 'statuscode: 404', 'connection refused']);
    await guest.stop();
  });

  it('end it after three failures, once', async () => {
    const guest = world({ livenessProbe: { tcpSocket: { port: 1 } } }, [FAILED]);
    await guest.pass(6);
    expect(guest.asked()).toBe(3);
    expect(guest.told.filter((line) => /dead|Killing/.test(line))).toEqual([
      'Pod Killing Container compute failed liveness probe',
      'dead: its liveness probe failed: connection refused',
    ]);
    await guest.stop();
  });

  it('decide nothing while libvirt is away', async () => {
    const guest = world({ livenessProbe: { guestAgentPing: {} } }, [new Error('connection lost')]);
    await guest.pass(6);
    expect(guest.asked()).toBeGreaterThan(3);
    expect(guest.told).toEqual([]);
    await guest.stop();
  });

  it.each([
    ['paused', { conditions: [{ type: 'Paused', status: 'True' }] }, {}],
    ['frozen', { fsFreezeStatus: 'frozen' }, {}],
    ['of a backup', {}, { 'kubevirt.io/pause-guest-agent-probes': 'true' }],
  ] as const)('wait while the guest is %s', async (_name, status, annotations) => {
    const guest = world({ livenessProbe: { guestAgentPing: {} } }, [FAILED], structuredClone<object>(status));
    guest.change({ metadata: { ...buildVmi('vm').object.metadata, annotations } });
    await guest.pass(6);
    expect(guest.asked()).toBe(0);
    guest.change({ metadata: buildVmi('vm').object.metadata, status: { phase: 'Running' } });
    await guest.pass(4);
    expect(guest.told).toContain('dead: its liveness probe failed: connection refused');
    await guest.stop();
  });
});

describe('a probe by the guest agent', () => {
  const ask = async (answers: Record<string, unknown>, type: 'exec' | 'guestAgentPing' = 'exec') => {
    const lines: unknown[] = [];
    const agentCommand = async (_domain: unknown, line: string): Promise<string> => {
      const command = JSON.parse(line) as { execute: string };
      lines.push(command);
      const answer = answers[command.execute];
      if (answer instanceof Error) throw answer;
      return JSON.stringify({ return: answer });
    };
    const domain = { name: 'd', uuid: Buffer.alloc(16), id: 1 } as never; // passed on
    const probe = type === 'exec' ? ({ type, command: 'test', args: ['-f', '/x'] } as const) : ({ type } as const);
    const answer = await probeByAgent(
      { libvirt: { agentCommand }, domain, clock: fakeClock() },
      probe,
      0,
      new AbortController().signal,
    );
    return { answer, lines };
  };
  const base64 = (text: string): string => Buffer.from(text).toString('base64');

  it('runs the command in the guest', async () => {
    const { answer, lines } = await ask({ 'guest-exec': { pid: 7 }, 'guest-exec-status': { exited: true, exitcode: 0 } });
    expect(answer).toEqual(PASSED);
    expect(lines).toEqual([
      { execute: 'guest-exec', arguments: { path: 'test', arg: ['-f', '/x'], 'capture-output': true } },
      { execute: 'guest-exec-status', arguments: { pid: 7 } },
    ]);
  });

  it.each([
    [{ exited: true, exitcode: 3, 'out-data': base64('no\u001b[31m disk\n') }, 'command "test" ended with status 3: no[31m disk'],
    [{ exited: true, exitcode: 1, 'err-data': base64('bad') }, 'command "test" ended with status 1: bad'],
    [{ exited: true, signal: 9 }, 'command "test" ended with signal 9'],
    [{ exited: false }, 'command "test" did not end within 0 s'],
  ])('says what came of it: %j', async (status, message) => {
    const { answer } = await ask({ 'guest-exec': { pid: 7 }, 'guest-exec-status': status });
    expect(answer).toEqual({ ok: false, message });
  });

  it('fails when the agent is silent, and decides nothing when libvirt is', async () => {
    const silent = new LibvirtError('AGENT_COMMAND', 86, 'Guest agent is not responding');
    expect((await ask({ 'guest-ping': silent }, 'guestAgentPing')).answer).toMatchObject({ ok: false });
    await expect(ask({ 'guest-ping': new Error('connection lost') }, 'guestAgentPing')).rejects.toThrow('connection lost');
    expect((await ask({ 'guest-ping': {} }, 'guestAgentPing')).answer).toEqual(PASSED);
  });
});
