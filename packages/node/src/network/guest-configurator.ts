import { streamProcess, type StreamProcess } from '@slipway/hostapi';
import type { Logger, TimerClock } from '@slipway/runtime';
import { answerDhcp4, parseDhcp4 } from './dhcp4.ts';
import { answerDhcp6, routerAdvertisement } from './dhcp6.ts';
import type { GuestConfig } from './guest-config.ts';
import { RELAY_PROGRAM } from './relay-program.ts';

const ADVERTISE_EVERY_MS = 600_000;
const RESTART_AFTER_MS = 500;
const MAX_LINE = 8192;

export interface GuestConfiguratorDeps {
  readonly log: Logger;
  readonly clock: TimerClock;
  /** Replaced in tests. */
  readonly start?: (signal: AbortSignal) => StreamProcess;
}

interface Served {
  readonly netns: string;
  readonly config: GuestConfig;
  readonly waiters: { readonly resolve: () => void; readonly reject: (error: Error) => void }[];
}

/** MAC address of every in-pod bridge of a masqueraded guest. */
const ROUTER_MAC = '02:00:00:00:00:00';

const startRelay = (signal: AbortSignal): StreamProcess => streamProcess(['perl', '-e', RELAY_PROGRAM], signal);

/** Answers DHCP, DHCPv6 and router solicitations of all guests of this node through one relay process. */
export class GuestConfigurator {
  readonly #deps: GuestConfiguratorDeps;
  readonly #served = new Map<string, Served>();
  #relay: StreamProcess | undefined;
  #stop: AbortController | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(deps: GuestConfiguratorDeps) {
    this.#deps = deps;
  }

  /** Starts the relay; it is started again whenever it ends, until `stop`. */
  start(): void {
    if (this.#stop) return;
    this.#stop = new AbortController();
    this.#startRelay(this.#stop.signal);
    this.#scheduleAdvertisements();
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#stop?.abort();
    this.#stop = undefined;
    this.#relay = undefined;
    for (const id of this.#served.keys()) this.withdraw(id);
  }

  /** Serves a guest; resolves when its requests will be heard. The id must be free of blanks. */
  serve(id: string, netns: string, config: GuestConfig): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#served.set(id, { netns, config, waiters: [{ resolve, reject }] });
      this.#write(`open ${id} ${netns} ${config.link}`);
    });
  }

  withdraw(id: string): void {
    const served = this.#served.get(id);
    if (!served) return;
    this.#served.delete(id);
    this.#write(`close ${id}`);
    for (const { reject } of served.waiters.splice(0)) reject(new Error(`DHCP for ${id} is not wanted any more`));
  }

  #write(line: string): void {
    this.#relay?.stdin.write(`${line}\n`);
  }

  #startRelay(signal: AbortSignal): void {
    const relay = (this.#deps.start ?? startRelay)(signal);
    this.#relay = relay;
    for (const [id, { netns, config }] of this.#served) this.#write(`open ${id} ${netns} ${config.link}`);
    let rest = '';
    relay.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(0, MAX_LINE);
      for (const line of lines) this.#receive(line);
    });
    relay.done
      .catch((error: unknown) => {
        if (!signal.aborted) this.#deps.log.error({ error: String(error) }, 'DHCP relay ended');
      })
      .finally(() => {
        if (!signal.aborted) this.#deps.clock.setTimer(RESTART_AFTER_MS, () => signal.aborted || this.#startRelay(signal));
      });
  }

  #receive(line: string): void {
    const [verb, id = '', ...words] = line.split(' ');
    const served = this.#served.get(id);
    if (!served) return;
    switch (verb) {
      case 'opened':
        for (const { resolve } of served.waiters.splice(0)) resolve();
        this.#advertise(id, served);
        break;
      case 'failed':
        for (const { reject } of served.waiters.splice(0)) reject(new Error(`Cannot serve DHCP: ${words.join(' ')}`));
        break;
      case 'packet':
        this.#answer(id, served, words);
        break;
      default:
    }
  }

  #answer(id: string, served: Served, [kind, source = '', hex = '']: readonly string[]): void {
    const packet = Buffer.from(hex, 'hex');
    if (kind === '4') {
      const request = parseDhcp4(packet);
      const reply = request && answerDhcp4(request, served.config);
      if (reply) this.#write(`send ${id} 4 ${reply.toString('hex')}`);
    } else if (kind === '6') {
      const reply = answerDhcp6(packet, served.config, ROUTER_MAC);
      if (reply) this.#write(`send ${id} 6 ${source} ${reply.toString('hex')}`);
    } else if (kind === 'rs') {
      this.#advertise(id, served);
    }
  }

  #advertise(id: string, { config }: Served): void {
    const { v6 } = config;
    // with another gateway the pod is not the router
    if (v6 === undefined || v6.gateway !== undefined) return;
    this.#write(`send ${id} ra ${routerAdvertisement({ ...config, v6 }, ROUTER_MAC).toString('hex')}`);
  }

  #scheduleAdvertisements(): void {
    this.#cancelTimer = this.#deps.clock.setTimer(ADVERTISE_EVERY_MS, () => {
      for (const [id, served] of this.#served) this.#advertise(id, served);
      this.#scheduleAdvertisements();
    });
  }
}
