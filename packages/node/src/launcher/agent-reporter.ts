import { AgentTrouble, VmiPhase } from '@slipway/api';
import { CredentialSync } from '../access-credentials/index.ts';
import { sleep } from '@slipway/runtime';
import { GuestAgent } from './guest-agent.ts';
import type { AgentProblem } from '../guest-agent/index.ts';
import { misbehavingInstance, reportedInstance, withCondition } from './instance-status.ts';
import { oneShot } from './launch-parts.ts';
import type { GuestControl, LaunchView } from './launch-view.ts';

const REFRESH_MS = 30_000;
const RETRY_MS = 1_000;
/** An agent that has just connected may not answer yet. */
const PATIENCE = 3;
const SLOW_RETRY_MS = 10_000;

/** Writes what the guest's agent says into the VMI, when it is new; again and again while the agent is connected. */
export class AgentReporter {
  private readonly launch: LaunchView;
  private readonly session: GuestControl;
  private isConnected = false;
  private isPolling = false;
  private noticed = oneShot();
  /** Questions without an answer, one after the other. */
  private failures = 0;
  private told: string | undefined;
  private readonly credentials: CredentialSync;

  constructor(launch: LaunchView, session: GuestControl) {
    this.launch = launch;
    this.credentials = new CredentialSync(launch.deps.client);
    this.session = session;
  }

  /** libvirt has seen the agent come or go: a poll that is under way looks at once. */
  notice(isConnected: boolean): void {
    this.isConnected = isConnected;
    const { noticed } = this;
    this.noticed = oneShot();
    noticed.fire();
  }

  /** Resolves when no agent is connected any more or the guest has ended. */
  async poll(): Promise<void> {
    const { deps, signal } = this.launch;
    if (this.isPolling) return;
    this.isPolling = true;
    try {
      for (; !signal.aborted && !this.launch.hasEnded(); ) {
        const { promise: noticed } = this.noticed;
        // the server or libvirt may be away just then
        const outcome = await this.report().catch(() => 'failed' as const);
        if (outcome === 'silent' && !this.isConnected) return;
        const retryMs = this.failures > PATIENCE ? SLOW_RETRY_MS : RETRY_MS;
        await Promise.race([sleep(deps.clock, outcome === 'reported' ? REFRESH_MS : retryMs, signal), noticed]);
      }
    } finally {
      this.isPolling = false;
    }
  }

  private async report(): Promise<'reported' | 'silent'> {
    const { session } = this;
    const { deps, writer, signal } = this.launch;
    const agent = new GuestAgent(await session.libvirt(), await session.domain());
    const report = await agent.report().catch(() => undefined);
    this.failures = report ? 0 : this.failures + 1;
    if (report) this.isConnected = true;
    const isNews = report !== undefined || !this.isConnected;
    const problem = this.problemOf(agent);
    if (isNews || problem)
      await writer.update((vmi) => {
        if (vmi.status?.phase !== VmiPhase.running || this.launch.hasEnded()) return vmi;
        const now = deps.clock.now();
        return misbehavingInstance(isNews ? reportedInstance(vmi, report, now) : vmi, problem, now);
      }, signal);
    this.tell(problem);
    if (report) await this.syncCredentials(agent);
    return report === undefined ? 'silent' : 'reported';
  }

  /** What to say of the agent; a frozen one has reason to be silent, and one that has just come is given time. */
  private problemOf(agent: GuestAgent): AgentProblem | undefined {
    const [problem] = agent.problems;
    const isEarly = problem?.reason === AgentTrouble.noAnswer && this.failures > 0 && this.failures < PATIENCE;
    const isFrozen = this.launch.writer.current.status?.fsFreezeStatus === 'frozen';
    return !this.isConnected || isEarly || isFrozen ? undefined : problem;
  }

  private tell(problem: AgentProblem | undefined): void {
    const { deps, writer } = this.launch;
    if (problem !== undefined && problem.reason !== this.told)
      deps.events.warning(writer.current, problem.reason, problem.message);
    if (problem !== undefined || this.failures === 0) this.told = problem?.reason;
  }

  private async syncCredentials(agent: GuestAgent): Promise<void> {
    const { deps, writer, signal } = this.launch;
    const outcome = await this.credentials.sync(writer.current, agent.credentials, signal);
    if (outcome === undefined) return;
    const { isSynchronized, message } = outcome;
    if (isSynchronized) deps.events.normal(writer.current, 'AccessCredentialsSyncSuccess', 'Access credentials sync successful.');
    else deps.events.warning(writer.current, 'AccessCredentialsSyncFailed', `Access credentials sync failed: ${message}`);
    const text = {
      type: 'AccessCredentialsSynchronized',
      status: isSynchronized ? 'True' : 'False',
      ...(message !== '' && { message }),
    } as const;
    await writer.update((vmi) => {
      const before = vmi.status?.conditions?.find(({ type }) => type === text.type);
      const isKnown = before?.status === text.status && (before.message ?? '') === message;
      if (isKnown || vmi.status?.phase !== VmiPhase.running || this.launch.hasEnded()) return vmi;
      const conditions = withCondition(vmi.status.conditions, text, deps.clock.now());
      return { ...vmi, status: { ...vmi.status, conditions } };
    }, signal);
  }
}
