import { StatusError, type Status } from '@slipway/apimachinery';

export const TUNNEL_GROUP = 'node.slipway.dev';
export const TUNNEL_VERSION = 'v1';
export const TUNNEL_PROTOCOL = 'v1.tunnel.slipway.dev';

export const tunnelPath = (node: string): string =>
  `/apis/${TUNNEL_GROUP}/${TUNNEL_VERSION}/nodes/${encodeURIComponent(node)}/tunnel`;
export const streamPath = (node: string, id: string): string =>
  `/apis/${TUNNEL_GROUP}/${TUNNEL_VERSION}/nodes/${encodeURIComponent(node)}/streams/${encodeURIComponent(id)}`;

/** User name in the certificate of a node's agent. */
export const nodeUser = (node: string): string => `system:node:${node}`;

/** Both sides drop a tunnel on which they heard nothing for this long; the server pings three times as often. */
export const SILENCE_MS = 60_000;
export const PING_MS = 20_000;

/** Server to agent. */
export type TunnelRequest =
  | {
      readonly type: 'call' | 'open';
      readonly id: string;
      readonly verb: string;
      readonly params: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'cancel'; readonly id: string }
  | { readonly type: 'ping' };

/** Agent to server. A granted `open` is answered by dialling the stream's path instead. */
export type TunnelAnswer =
  | { readonly type: 'result'; readonly id: string; readonly result: unknown }
  | { readonly type: 'error'; readonly id: string; readonly status: Status }
  | { readonly type: 'pong' };

export const encodeMessage = (message: TunnelRequest | TunnelAnswer): Uint8Array => Buffer.from(JSON.stringify(message));

/** The message, or undefined when it is none that this version knows. */
export function decodeMessage<T extends TunnelRequest | TunnelAnswer>(bytes: Uint8Array): T | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
    // unknown types fall through the switches of both sides
    return typeof value === 'object' && value !== null && 'type' in value ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}

export function statusOf(error: unknown): Status {
  if (error instanceof StatusError) return error.status;
  const message = error instanceof Error ? error.message : String(error);
  return new StatusError({ code: 500, reason: 'InternalError', message }).status;
}
