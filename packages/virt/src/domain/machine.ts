import { DomainPlanError } from './facts.ts';

const Q35 = /^pc-q35-(?:([a-z]+)(\d+)\.(\d+)(?:\.(\d+))?|(\d+)\.(\d+))/;

// RHEL machine types are snapshots of an upstream one: RHEL 9.2 shipped QEMU 7.2, and so on.
const RHEL_UPSTREAM: Readonly<Record<string, readonly [number, number]>> = {
  '7.3': [2, 6],
  '7.4': [2, 9],
  '7.5': [2, 11],
  '7.6': [2, 12],
  '8.0': [4, 1],
  '8.1': [4, 1],
  '8.2': [4, 2],
  '8.3': [5, 1],
  '8.4': [5, 2],
  '8.5': [6, 0],
  '8.6': [6, 2],
  '9.0': [6, 2],
  '9.2': [7, 2],
  '9.4': [8, 2],
  '9.6': [9, 1],
  '10.0': [9, 1],
}; // prettier-ignore

type Version = readonly [number, number];

const compare = (a: Version, b: Version): number => a[0] - b[0] || a[1] - b[1];

function upstreamVersion(type: string): Version | undefined {
  const match = Q35.exec(type);
  if (!match) return undefined;
  if (match[5] !== undefined) return [Number(match[5]), Number(match[6])];
  if (match[1] === 'rhel') return RHEL_UPSTREAM[`${match[2]}.${match[3]}`];
  return undefined;
}

/**
 * The closest machine type that the host knows: the same one, else the oldest upstream version that is not older than
 * the one meant, else the newest older one, else the family's alias.
 */
export function mapMachineType(
  wanted: string,
  known: readonly string[] | undefined,
): { readonly type: string; readonly mapped: boolean } {
  if (known === undefined || known.includes(wanted)) return { type: wanted, mapped: false };
  const family = wanted.startsWith('pc-q35') || wanted === 'q35' ? 'q35' : wanted.replace(/-.*$/, '');
  const version = upstreamVersion(wanted);
  const candidates = known
    .filter((type) => /^pc-q35-\d/.test(type))
    .flatMap((type): { type: string; version: Version }[] => {
      const upstream = upstreamVersion(type);
      return upstream ? [{ type, version: upstream }] : [];
    })
    .toSorted((a, b) => compare(a.version, b.version));
  if (family === 'q35' && version) {
    const later = candidates.find((candidate) => compare(candidate.version, version) >= 0);
    const closest = later ?? candidates.at(-1);
    if (closest) return { type: closest.type, mapped: true };
  }
  if (known.includes(family)) return { type: family, mapped: true };
  throw new DomainPlanError(`This host's QEMU has no machine type like ${wanted}`, 'spec.domain.machine.type');
}
