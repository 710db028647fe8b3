import type { StreamAcceptor } from '@slipway/runtime';

/** An acceptor that sends text, where the sub-protocol is one for readers of text. */
export interface TextStreamAcceptor extends StreamAcceptor {
  isText?(protocol: string): boolean;
}
