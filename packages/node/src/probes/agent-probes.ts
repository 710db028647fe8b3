import { sleep, type TimerClock } from '@slipway/runtime';
import { asRecord, encodedText, readReturn } from '../guest-agent/index.ts';
import { type DomainRef, type LibvirtConnection, LibvirtError } from '../libvirt/index.ts';
import type { ProbeAnswer } from './network-probes.ts';
import type { AgentProbe } from './probe-spec.ts';

export interface AgentProbeDeps {
  readonly libvirt: Pick<LibvirtConnection, 'agentCommand'>;
  readonly domain: DomainRef;
  readonly clock: TimerClock;
}

/** How often a command that runs in the guest is asked for its end. */
const POLL_MS = 200;

/**
 * Asks the guest's agent, or lets it run a command. A silent agent and a command with another status than 0 are answers;
 * rejects when nothing was found out because libvirt itself is away.
 */
export async function probeByAgent(
  deps: AgentProbeDeps,
  probe: AgentProbe,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const ask = async (execute: string, args: object): Promise<unknown> => {
    const line = JSON.stringify({ execute, arguments: args });
    return readReturn(await deps.libvirt.agentCommand(deps.domain, line, Math.max(1, Math.ceil(timeoutMs / 1000))));
  };
  try {
    if (probe.type === 'guestAgentPing') {
      await ask('guest-ping', {});
      return { ok: true, message: '' };
    }
    return await runInGuest(deps, probe, ask, timeoutMs, signal);
  } catch (error) {
    if (error instanceof LibvirtError) return { ok: false, message: `the guest agent does not do it: ${error.message}` };
    throw error;
  }
}

async function runInGuest(
  { clock }: AgentProbeDeps,
  { command, args }: Extract<AgentProbe, { readonly type: 'exec' }>,
  ask: (execute: string, args: object) => Promise<unknown>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  const deadlineMs = clock.now() + timeoutMs;
  const { pid } = asRecord(await ask('guest-exec', { path: command, arg: args, 'capture-output': true }));
  if (typeof pid !== 'number') return { ok: false, message: `the guest agent did not say how "${command}" runs` };
  for (;;) {
    const status = asRecord(await ask('guest-exec-status', { pid }));
    if (status['exited'] === true) return answerOf(command, status);
    if (clock.now() >= deadlineMs) return { ok: false, message: `command "${command}" did not end within ${timeoutMs / 1000} s` };
    await sleep(clock, POLL_MS, signal);
  }
}

/** The command's status, and the beginning of what it printed. */
function answerOf(command: string, status: Readonly<Record<string, unknown>>): ProbeAnswer {
  const { exitcode, signal } = status;
  if (exitcode === 0) return { ok: true, message: '' };
  const how = typeof exitcode === 'number' ? `status ${exitcode}` : `signal ${typeof signal === 'number' ? signal : 'unknown'}`;
  const output = encodedText(status['out-data']) ?? encodedText(status['err-data']);
  return { ok: false, message: `command "${command}" ended with ${how}${output === undefined ? '' : `: ${output}`}` };
}
