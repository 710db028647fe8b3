import type { Duplex } from 'node:stream';

/** What a component may ask a node agent, see `NodeVerb` in @slipway/api. */
export interface NodeCall {
  readonly verb: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/**
 * Reaches the agent of a node without opening a port on it: the agent keeps a tunnel to the API server, and each call
 * or stream is a connection that the agent dials back (see node-tunnel.ts).
 */
export interface NodeConnector {
  /** One question, one JSON answer. Throws StatusError 503 when the node is not connected. */
  call(node: string, call: NodeCall, signal: AbortSignal): Promise<unknown>;
  /** A byte stream (console, vnc, portforward, log). Rejects with the agent's StatusError when it refuses. */
  open(node: string, call: NodeCall, signal: AbortSignal): Promise<Duplex>;
}
