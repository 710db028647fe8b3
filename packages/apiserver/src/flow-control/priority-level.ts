import { StatusError } from '@slipway/apimachinery';
import type { LevelLimits } from './flow-config.ts';

/** A place among the requests that are worked on; given back once. */
export interface Seat {
  release(): void;
}

/** What the levels of one server share. */
export interface Hall {
  /** Seats taken in all levels together. */
  inUse: number;
  /** How many are to be had; a level may go beyond its own ones while there are some. */
  readonly seats: number;
  /** How many one flow may have, also where nobody else wants any. */
  readonly seatsPerFlow: number;
  /** Calls back when the requests that are being worked on had their turn. */
  readonly soon: (task: () => void) => void;
  readonly after: (ms: number, task: () => void) => () => void;
}

export interface LevelCounters {
  dispatched: number;
  waiting: number;
  readonly rejected: Map<'queue-full' | 'time-out' | 'concurrency-limit', number>;
}

interface Waiter {
  readonly width: number;
  readonly admit: () => void;
  readonly refuse: (error: StatusError) => void;
}

/** What one user, or one namespace, has going on in a level. */
interface Flow {
  readonly key: string;
  inUse: number;
  /** Work done for it so far, measured against that of the others. */
  work: number;
  readonly waiting: Waiter[];
}

const WAIT_MS = 15_000;
const RETRY_AFTER_SECONDS = 1;

/** 429 in the API server's words. */
export const tooManyRequests = (message = 'too many requests, please try again later'): StatusError =>
  new StatusError({
    code: 429,
    reason: 'TooManyRequests',
    message,
    details: { retryAfterSeconds: RETRY_AFTER_SECONDS },
  });

/**
 * Requests of one priority. While there are seats a request takes one without waiting; else it waits in the queue of its
 * flow, and seats go to the flow that has had the least. One waiting request is admitted per turn of the event loop, so
 * that requests of others are read and answered in between.
 */
export class PriorityLevel {
  limits: LevelLimits;
  inUse = 0;
  readonly counters: LevelCounters = { dispatched: 0, waiting: 0, rejected: new Map() };
  private readonly hall: Hall;
  private readonly flows = new Map<string, Flow>();
  /** Work of the flow that was served last: a flow that comes back gets no credit for its absence. */
  private work = 0;
  private isScheduled = false;

  constructor(limits: LevelLimits, hall: Hall) {
    this.limits = limits;
    this.hall = hall;
  }

  /** A seat at once, or a promise of one. Throws 429, or rejects with it. */
  enter(key: string, wantedWidth: number, onGone: (leave: () => void) => void): Seat | Promise<Seat> {
    if (this.limits.seats === undefined) return EXEMPT;
    const width = Math.max(1, Math.min(wantedWidth, this.limits.seats, this.hall.seatsPerFlow));
    let flow = this.flows.get(key);
    if (flow === undefined) {
      flow = { key, inUse: 0, work: this.work, waiting: [] };
      this.flows.set(key, flow);
    }
    if (flow.waiting.length === 0 && this.hasRoom(flow, width)) return this.seat(flow, width);
    if (flow.waiting.length < this.limits.queueLength) return this.wait(flow, width, onGone);
    this.forgetIdle(flow);
    this.countRejection(this.limits.queueLength === 0 ? 'concurrency-limit' : 'queue-full');
    throw tooManyRequests();
  }

  private hasRoom(flow: Flow, width: number): boolean {
    const { inUse, seats, seatsPerFlow } = this.hall;
    if (flow.inUse + width > seatsPerFlow) return false;
    return this.inUse + width <= (this.limits.seats ?? Number.POSITIVE_INFINITY) || inUse + width <= seats;
  }

  private seat(flow: Flow, width: number): Seat {
    flow.inUse += width;
    flow.work += width;
    this.work = Math.max(this.work, flow.work - width);
    this.inUse += width;
    this.hall.inUse += width;
    this.counters.dispatched += 1;
    let isTaken = true;
    return {
      release: () => {
        if (!isTaken) return;
        isTaken = false;
        flow.inUse -= width;
        this.inUse -= width;
        this.hall.inUse -= width;
        this.forgetIdle(flow);
        this.admitSoon();
      },
    };
  }

  private wait(flow: Flow, width: number, onGone: (leave: () => void) => void): Promise<Seat> {
    return new Promise((resolve, reject) => {
      const stopTimer = this.hall.after(WAIT_MS, () => {
        this.countRejection('time-out');
        leave(tooManyRequests());
      });
      const waiter: Waiter = {
        width,
        admit: () => {
          stopTimer();
          resolve(this.seat(flow, width));
        },
        refuse: (error) => {
          stopTimer();
          reject(error);
        },
      };
      const leave = (error: StatusError): void => {
        const index = flow.waiting.indexOf(waiter);
        if (index < 0) return;
        flow.waiting.splice(index, 1);
        this.counters.waiting -= 1;
        this.forgetIdle(flow);
        waiter.refuse(error);
      };
      flow.waiting.push(waiter);
      this.counters.waiting += 1;
      onGone(() => leave(tooManyRequests('the client went away while its request waited')));
    });
  }

  private admitSoon(): void {
    if (this.isScheduled || this.counters.waiting === 0) return;
    this.isScheduled = true;
    this.hall.soon(() => {
      this.isScheduled = false;
      if (this.admitOne()) this.admitSoon();
    });
  }

  private admitOne(): boolean {
    let next: Flow | undefined;
    for (const flow of this.flows.values()) {
      const [first] = flow.waiting;
      if (first !== undefined && this.hasRoom(flow, first.width) && (next === undefined || flow.work < next.work)) next = flow;
    }
    const waiter = next?.waiting.shift();
    if (waiter === undefined) return false;
    this.counters.waiting -= 1;
    waiter.admit();
    return true;
  }

  private forgetIdle(flow: Flow): void {
    if (this.inUse === 0 && this.counters.waiting === 0) {
      this.flows.clear();
      this.work = 0;
    } else if (flow.inUse === 0 && flow.waiting.length === 0 && flow.work <= this.work) this.flows.delete(flow.key);
  }

  private countRejection(reason: 'queue-full' | 'time-out' | 'concurrency-limit'): void {
    this.counters.rejected.set(reason, (this.counters.rejected.get(reason) ?? 0) + 1);
  }
}

export const EXEMPT: Seat = { release: () => undefined };
