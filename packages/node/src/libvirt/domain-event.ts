import { EVENT } from './protocol.ts';
import type { XdrReader } from './xdr.ts';

/** How libvirt names a domain on the wire. */
export interface DomainRef {
  readonly name: string;
  readonly uuid: Buffer;
  /** -1 when it is not active. */
  readonly id: number;
}

export type DomainEvent =
  | { readonly type: 'lifecycle'; readonly domain: string; readonly event: number; readonly detail: number }
  | { readonly type: 'reboot'; readonly domain: string }
  | { readonly type: 'watchdog'; readonly domain: string; readonly action: number }
  | { readonly type: 'agent'; readonly domain: string; readonly connected: boolean }
  | { readonly type: 'io-error'; readonly domain: string; readonly disk: string; readonly reason: string }
  | {
      readonly type: 'device-removed' | 'device-added' | 'device-removal-failed' | 'device-resized';
      readonly domain: string;
      readonly alias: string;
    };

export const readDomain = (body: XdrReader): DomainRef => ({
  name: body.string(),
  uuid: Buffer.from(body.opaque(16)),
  id: body.int(),
});

/** Callback events start with the callback id and the domain. Undefined for one that nobody follows; throws for a broken one. */
export function decodeEvent(procedure: number, body: XdrReader): DomainEvent | undefined {
  body.int();
  switch (procedure) {
    case EVENT.lifecycle.procedure:
      return { type: 'lifecycle', domain: readDomain(body).name, event: body.int(), detail: body.int() };
    case EVENT.reboot.procedure:
      return { type: 'reboot', domain: readDomain(body).name };
    case EVENT.watchdog.procedure:
      return { type: 'watchdog', domain: readDomain(body).name, action: body.int() };
    case EVENT.agentLifecycle.procedure:
      return { type: 'agent', domain: readDomain(body).name, connected: body.int() === 1 };
    case EVENT.ioErrorReason.procedure: {
      const { name } = readDomain(body);
      const [disk] = [body.string(), body.string(), body.int()];
      return { type: 'io-error', domain: name, disk: disk ?? '', reason: body.string() };
    }
    case EVENT.deviceRemoved.procedure:
      return { type: 'device-removed', domain: readDomain(body).name, alias: body.string() };
    case EVENT.deviceAdded.procedure:
      return { type: 'device-added', domain: readDomain(body).name, alias: body.string() };
    case EVENT.deviceRemovalFailed.procedure:
      return { type: 'device-removal-failed', domain: readDomain(body).name, alias: body.string() };
    case EVENT.memoryDeviceSizeChange.procedure:
      return { type: 'device-resized', domain: readDomain(body).name, alias: body.string() };
    default:
      return undefined;
  }
}
