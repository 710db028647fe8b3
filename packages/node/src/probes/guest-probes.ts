import { VmiCondition, VmiPhase } from '@slipway/api';
import { type EventRecorder, type Logger, sleep, type TimerClock } from '@slipway/runtime';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { text as printable } from '../guest-agent/index.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { probeByAgent } from './agent-probes.ts';
import { type ProbeAnswer, probeHttp, probeTcp } from './network-probes.ts';
import { planProbes, type ProbeSpec } from './probe-spec.ts';
import { initialState, nextState } from './probe-state.ts';

export interface GuestProbesDeps {
  readonly clock: TimerClock;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly pod: () => Pod;
  readonly instance: () => VirtualMachineInstance;
  /** Addresses of the guest's pod. */
  readonly addresses: () => readonly string[];
  readonly libvirt: () => Promise<LibvirtConnection>;
  readonly domain: () => Promise<DomainRef>;
  /** Whether the pod counts as ready now; repeats its write until the server has it. */
  readonly setReady: (isReady: boolean) => Promise<void>;
  /** The guest is to be ended. */
  readonly onDead: (message: string) => void;
  /** Replaced in tests. */
  readonly ask?: (spec: ProbeSpec, signal: AbortSignal) => Promise<ProbeAnswer>;
}

/** Annotation with which backup tools keep probes through the guest agent from running. */
const PAUSE_AGENT_PROBES = 'kubevirt.io/pause-guest-agent-probes';
const TELL_AGAIN_MS = 60_000;
const UNHEALTHY = 'Unhealthy';
const KILLING = 'Killing';

/** Runs the probes of one guest until the signal is aborted; nothing at all for a guest without probes. */
export async function runProbes(deps: GuestProbesDeps, signal: AbortSignal): Promise<void> {
  await Promise.all(planProbes(deps.instance(), deps.pod()).map((spec) => runProbe(deps, spec, signal)));
}

/** Whether the guest cannot answer by no fault of its own: what was known of it stays. */
function isExcused({ metadata, status }: VirtualMachineInstance, { handler }: ProbeSpec): boolean {
  if (status?.phase !== VmiPhase.running) return true;
  if (status.conditions?.some((condition) => condition.type === VmiCondition.paused && condition.status === 'True')) return true;
  const isByAgent = handler.type === 'exec' || handler.type === 'guestAgentPing';
  const pause = metadata.annotations?.[PAUSE_AGENT_PROBES];
  return isByAgent && (status.fsFreezeStatus === 'frozen' || (pause !== undefined && pause !== 'false'));
}

/** Whether the pod's status calls its first container ready, as an earlier agent has left it. */
export function wasReady({ spec, status }: Pod): boolean {
  const name = spec?.containers[0]?.name;
  return status?.containerStatuses?.some((container) => container.name === name && container.ready) === true;
}

async function runProbe(deps: GuestProbesDeps, spec: ProbeSpec, signal: AbortSignal): Promise<void> {
  const { clock } = deps;
  const isReadiness = spec.kind === 'readiness';
  let state = initialState(spec.kind, wasReady(deps.pod()));
  const tell = failureTeller(deps, spec);
  const startedMs = Date.parse(deps.pod().status?.startTime ?? '');
  const beginMs = (Number.isNaN(startedMs) ? clock.now() : startedMs) + spec.initialDelayMs;
  await sleep(clock, Math.max(0, beginMs - clock.now()), signal);
  for (; ; await sleep(clock, spec.periodMs, signal)) {
    if (isExcused(deps.instance(), spec)) continue;
    const answer = await answered(deps, spec, signal);
    // a guest that was paused meanwhile could not answer
    if (answer === undefined || isExcused(deps.instance(), spec)) continue;
    const before = state.isPassing;
    state = nextState(state, answer.ok, spec);
    tell(answer);
    if (isReadiness && state.isPassing !== before) await deps.setReady(state.isPassing);
    if (!isReadiness && !state.isPassing) {
      deps.events.normal(deps.pod(), KILLING, 'Container compute failed liveness probe');
      deps.onDead(`its liveness probe failed: ${answer.message}`);
      return;
    }
  }
}

/** Tells of a failure that lasts once a minute: events are limited, and another answer must not be lost among equal ones. */
function failureTeller({ events, pod, instance, clock }: GuestProbesDeps, { kind }: ProbeSpec): (answer: ProbeAnswer) => void {
  let told: { readonly message: string; readonly atMs: number } | undefined;
  return ({ ok, message }) => {
    const isKnown = told?.message === message && clock.now() - told.atMs < TELL_AGAIN_MS;
    if (ok) told = undefined;
    if (ok || isKnown) return;
    told = { message, atMs: clock.now() };
    // part of it may be the guest's own words
    const text = `${kind === 'readiness' ? 'Readiness' : 'Liveness'} probe failed: ${printable(message) ?? ''}`;
    // a kubelet tells it of the pod; people look at the instance
    events.warning(pod(), UNHEALTHY, text);
    events.warning(instance(), UNHEALTHY, text);
  };
}

/** The answer, or undefined when nothing was found out. */
async function answered(deps: GuestProbesDeps, spec: ProbeSpec, signal: AbortSignal): Promise<ProbeAnswer | undefined> {
  const asking = new AbortController();
  const stop = (): void => asking.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const cancel = deps.clock.setTimer(spec.timeoutMs, () =>
    asking.abort(new Error(`no answer within ${spec.timeoutMs / 1000} s`)),
  );
  try {
    return await (deps.ask ?? ((one, until) => askGuest(deps, one, until, signal)))(spec, asking.signal);
  } catch (error) {
    signal.throwIfAborted();
    deps.log.debug({ pod: deps.pod().metadata.name, probe: spec.kind, error: String(error) }, 'probe without answer');
    return undefined;
  } finally {
    cancel();
    signal.removeEventListener('abort', stop);
  }
}

async function askGuest(
  { addresses, libvirt, domain, clock }: GuestProbesDeps,
  { handler, timeoutMs }: ProbeSpec,
  until: AbortSignal,
  signal: AbortSignal,
): Promise<ProbeAnswer> {
  if (handler.type === 'httpGet') return probeHttp(handler, addresses(), until);
  if (handler.type === 'tcpSocket') return probeTcp(handler, addresses(), until);
  // a command has its own time, so that its end is asked for once more when it is over
  return probeByAgent({ libvirt: await libvirt(), domain: await domain(), clock }, handler, timeoutMs, signal);
}
