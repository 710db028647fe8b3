import { isIP } from 'node:net';
import { isObject } from '@slipway/apimachinery';
import type { OfferedDisk } from '../contracts.ts';
import type { PeerMessage } from '../peer-link/index.ts';
import type { MovedTo } from './migration-record.ts';

/** What the source says first: what there is to move. */
export interface Offer {
  readonly disks: readonly OfferedDisk[];
}

/** Where everything is at the target, as its sandbox sees it. */
export interface Places {
  readonly disks: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
  readonly taps: ReadonlyMap<string, string>;
  /** Files of the domain that are no disks. */
  readonly files: ReadonlyMap<string, string>;
  readonly target: Omit<MovedTo, 'node'>;
}

const MAX_DISKS = 256;
const MAX_DISK_BYTES = 2 ** 50;
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
/** What may stand in the document of a domain. */
const PATH = /^\/[-\w./:@+=,]{1,1000}$/;
const TAP = /^[-\w.]{1,15}$/;
const TRANSFERS = ['shared', 'copied', 'remade', 'state'] as const;

export const offerMessage = ({ disks }: Offer): PeerMessage => ({ type: 'offer', disks });

export const placesMessage = ({ disks, taps, files, target }: Places): PeerMessage => ({
  ...{ type: 'places', target },
  disks: [...disks].map(([name, { path, format }]) => ({ name, path, format })),
  taps: Object.fromEntries(taps),
  files: Object.fromEntries(files),
});

/** Throws when the peer's offer makes no sense. */
export function readOffer(message: PeerMessage): Offer {
  return { disks: list(message['disks']).map(readDisk) };
}

/** Throws when the peer's places make no sense: they become part of a domain. */
export function readPlaces(message: PeerMessage): Places {
  const disks = list(message['disks']).map((one) => {
    const format = text(one['format'], /^(raw|qcow2)$/);
    return [text(one['name'], NAME), { path: text(one['path'], PATH), format }] as const;
  });
  const { target } = message;
  if (!isObject(target)) throw new Error('The peer names no target');
  const link: unknown = target['link'];
  if (!Array.isArray(link) || link.length > 2) throw new Error('The peer names no link');
  return {
    disks: new Map(disks),
    taps: texts(message['taps'], TAP),
    files: texts(message['files'], PATH),
    target: { podUid: text(target['podUid'], /^[-\w]{1,64}$/), link: link.map(readAddress) },
  };
}

function readDisk(one: Record<string, unknown>): OfferedDisk {
  const transfer = TRANSFERS.find((known) => known === one['transfer']);
  if (transfer === undefined) throw new Error('The peer offers a disk in an unknown way');
  const { claimName, allocatedBytes } = one;
  return {
    ...{ name: text(one['name'], NAME), transfer, virtualSizeBytes: size(one['virtualSizeBytes']) },
    ...(allocatedBytes !== undefined && { allocatedBytes: size(allocatedBytes) }),
    ...(claimName !== undefined && { claimName: text(claimName, NAME) }),
  };
}

function size(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > MAX_DISK_BYTES)
    throw new Error('The peer offers a disk of an impossible size');
  return value;
}

function readAddress(value: unknown): string {
  if (typeof value !== 'string' || isIP(value) === 0) throw new Error('The peer names an address that is none');
  return value;
}

function list(value: unknown): readonly Record<string, unknown>[] {
  if (!Array.isArray(value) || value.length > MAX_DISKS || !value.every(isObject)) throw new Error('The peer names no disks');
  return value;
}

function texts(value: unknown, pattern: RegExp): ReadonlyMap<string, string> {
  if (!isObject(value) || Object.keys(value).length > MAX_DISKS) throw new Error('The peer sent something else than names');
  return new Map(Object.entries(value).map(([name, entry]) => [name, text(entry, pattern)]));
}

function text(value: unknown, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw new Error(`The peer sent ${JSON.stringify(value)?.slice(0, 80)}`);
  return value;
}
