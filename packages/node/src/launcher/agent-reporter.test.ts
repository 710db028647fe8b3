import { fakeClock, MemoryCluster, vmi as buildVmi } from '@slipway/testkit';
import { VirtualMachineInstanceKind } from '@slipway/api';
import { silentLogger } from '@slipway/runtime';
import { expect, it } from 'vitest';
import { LibvirtError } from '../libvirt/index.ts';
import { AgentReporter } from './agent-reporter.ts';
import { InstanceWriter } from './instance-writer.ts';
import type { GuestControl, LaunchView } from './launch-view.ts';

const silent = (): never => {
  throw new LibvirtError('AGENT_COMMAND', 86, 'Guest agent is not responding');
};
const fine = (): string => '{"return": []}';
const tooMany = (): string => JSON.stringify({ return: Array.from({ length: 10_000 }, (_, index) => ({ name: `e${index}` })) });
const nonsense = (): string => '{"return": [[[[';

/** A guest whose agent answers as told, and the reporter that asks it. */
async function world(answer: () => string) {
  const clock = fakeClock();
  const cluster = new MemoryCluster(clock);
  const client = cluster.client();
  const vmi = await client.create(VirtualMachineInstanceKind, buildVmi('default/vm', { status: { phase: 'Running' } }).object);
  const events: string[] = [];
  const stop = new AbortController();
  let updates = 0;
  const writer = new InstanceWriter(
    {
      ...client,
      update: async (...args: Parameters<typeof client.update>) => (updates++, client.update(...args)),
    } as typeof client,
    vmi,
  );
  let answers = answer;
  const deps = {
    ...{ clock, client, log: silentLogger },
    events: { normal: () => undefined, warning: (_object: object, reason: string) => events.push(reason) },
  };
  const view = { deps, writer, signal: stop.signal, hasEnded: () => false } as unknown as LaunchView; // what the reporter looks at
  const session = {
    libvirt: async () => ({ agentCommand: async () => answers() }),
    domain: async () => ({ name: 'vm', uuid: Buffer.alloc(16), id: 1 }),
  } as unknown as GuestControl; // as above
  const reporter = new AgentReporter(view, session);
  reporter.notice(true);
  const running = reporter.poll();
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  await settled();
  return {
    ...{ events, clock, reporter },
    updates: () => updates,
    say: (next: () => string) => (answers = next),
    pass: async (seconds: number) => {
      for (let second = 0; second < seconds; second++) {
        clock.advance(1_000);
        await settled();
      }
    },
    conditions: () => (writer.current.status?.conditions ?? []).map(({ type, reason }) => (reason ? `${type}=${reason}` : type)),
    end: async () => {
      stop.abort(new Error('over'));
      await running.catch(() => undefined);
    },
  };
}

it('says that an agent misbehaves, once, and takes it back when it behaves', async () => {
  const { events, conditions, say, pass, end } = await world(tooMany);
  expect(conditions()).toEqual(['AgentConnected', 'AgentMisbehaving=AgentListTooLong']);
  await pass(300);
  expect(events).toEqual(['AgentListTooLong']);
  say(nonsense);
  await pass(31);
  expect(conditions()).toEqual(['AgentConnected', 'AgentMisbehaving=AgentAnswerMalformed']);
  say(fine);
  await pass(31);
  expect(conditions()).toEqual(['AgentConnected']);
  say(tooMany);
  await pass(31);
  expect(events).toEqual(['AgentListTooLong', 'AgentAnswerMalformed', 'AgentListTooLong']);
  await end();
});

it('gives an agent time before it calls it silent, and then asks it seldom', async () => {
  const { events, conditions, pass, updates, end } = await world(silent);
  expect(events).toEqual([]);
  await pass(10);
  expect(events).toEqual(['AgentNotAnswering']);
  expect(conditions()).toEqual(['AgentMisbehaving=AgentNotAnswering']);
  await pass(600);
  expect(events).toEqual(['AgentNotAnswering']);
  expect(updates()).toBe(1);
  await end();
});

it('says nothing more of an agent that is gone', async () => {
  const { conditions, pass, say, reporter, end } = await world(tooMany);
  say(silent);
  reporter.notice(false);
  await pass(2);
  expect(conditions()).toEqual([]);
  await end();
});
