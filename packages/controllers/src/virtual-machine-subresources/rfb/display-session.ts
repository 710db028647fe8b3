import type { Duplex } from 'node:stream';
import { GuestStream, type Reopen } from '../guest-stream.ts';
import { clientStream, forServer } from './client-stream.ts';
import { Encoding, newDisplay } from './display-state.ts';
import { Framer } from './framer.ts';
import { serverMessages, serverStream } from './server-stream.ts';
import { filling, greet, replay, resizing } from './take-over.ts';

/** So long another server may take for its handshake. */
const HANDSHAKE_MS = 30_000;

/**
 * A session with the display of a guest that may move to another node. QEMU there knows nothing of the session, so this
 * greets it in the client's place and tells it what the client has told the first; the client sees one stream of whole
 * messages. A session that says what is not known here is carried as it is, and ends when the guest moves.
 */
export class DisplaySession {
  private readonly display = newDisplay();
  private readonly client = new Framer(clientStream(this.display));
  private server = new Framer(serverStream(this.display));
  private readonly guest: GuestStream;
  /** Comes before what the present server sends. */
  private preface: readonly Uint8Array[] = [];

  constructor(first: Duplex, reopen: Reopen) {
    this.guest = new GuestStream(first, () => this.next(reopen));
  }

  /** What the client is sent. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of this.guest.chunks()) {
      const preface = this.preface;
      this.preface = [];
      yield* preface;
      if (this.client.isLost) this.server.giveUp();
      yield* this.server.feed(chunk);
    }
  }

  /** What the client says; false: nobody hears it any more. */
  async write(data: Uint8Array): Promise<boolean> {
    if (this.server.isLost) this.client.giveUp();
    for (const message of this.client.feed(data))
      if (!(await this.guest.write(() => forServer(this.display, message)))) return false;
    return true;
  }

  close(): void {
    this.guest.close();
  }

  private async next(reopen: Reopen): Promise<Duplex | undefined> {
    const { display, server, client } = this;
    if (!display.isReady || server.isLost || client.isLost) return undefined;
    const next = await reopen();
    if (next === undefined) return undefined;
    next.on('error', () => {}); // whoever reads it sees its end
    const onTimeout = setTimeout(() => next.destroy(), HANDSHAKE_MS);
    try {
      const { width, height } = await greet(next);
      this.preface = [filling(display, server.missing), resizing(display, width, height)].filter(({ length }) => length > 0);
      Object.assign(display, { width, height, rectanglesLeft: 0, hasMoved: true });
      for (const encoding of [Encoding.tight, Encoding.tightPng]) display.stale.add(encoding);
      this.server = new Framer(serverMessages(display));
      next.write(replay(display));
      return next;
    } catch (error) {
      next.destroy();
      throw error;
    } finally {
      clearTimeout(onTimeout);
    }
  }
}
