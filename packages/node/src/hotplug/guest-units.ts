import { asRecord, readReturn } from '../guest-agent/index.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';

/** A CPU or a block of memory as the guest's agent lists it. */
interface Unit {
  readonly id: number;
  readonly isOnline: boolean;
}

export interface UnitReport {
  readonly online: number;
  readonly total: number;
}

const TIMEOUT_SECONDS = 5;
/** More CPUs or memory blocks than any guest here has. */
const MAX_UNITS = 8192;

const COMMANDS = {
  vcpus: { list: 'guest-get-vcpus', set: 'guest-set-vcpus', argument: 'vcpus', id: 'logical-id' },
  memory: { list: 'guest-get-memory-blocks', set: 'guest-set-memory-blocks', argument: 'mem-blks', id: 'phys-index' },
} as const;

/**
 * Brings what was plugged into use: many guests leave new CPUs and memory alone until somebody says so. Answers what the
 * guest uses afterwards; undefined when its agent does not answer or lacks the command.
 */
export async function bringOnline(
  libvirt: Pick<LibvirtConnection, 'agentCommand'>,
  domain: DomainRef,
  kind: keyof typeof COMMANDS,
): Promise<UnitReport | undefined> {
  const { list, set, argument, id } = COMMANDS[kind];
  const ask = async (command: object): Promise<unknown> =>
    readReturn(await libvirt.agentCommand(domain, JSON.stringify(command), TIMEOUT_SECONDS));
  const read = async (): Promise<readonly Unit[] | undefined> => unitsOf(await ask({ execute: list }), id);
  try {
    const before = await read();
    const offline = before?.filter(({ isOnline }) => !isOnline) ?? [];
    if (before === undefined || offline.length === 0) return before && report(before);
    const units = offline.map((unit) => ({ [id]: unit.id, online: true }));
    await ask({ execute: set, arguments: { [argument]: units } });
    const after = await read();
    return after && report(after);
  } catch {
    return undefined; // no agent, or one that lacks the command: then nothing can be checked
  }
}

function unitsOf(answer: unknown, idField: string): readonly Unit[] | undefined {
  if (!Array.isArray(answer)) return undefined;
  return answer.slice(0, MAX_UNITS).flatMap((entry: unknown) => {
    const fields = asRecord(entry);
    const id = fields[idField];
    return typeof id === 'number' && Number.isInteger(id) ? [{ id, isOnline: fields['online'] === true }] : [];
  });
}

const report = (units: readonly Unit[]): UnitReport => ({
  total: units.length,
  online: units.filter(({ isOnline }) => isOnline).length,
});
