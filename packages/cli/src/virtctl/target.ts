import { CommandFailure } from './io.ts';
import { kindOf } from './lifecycle.ts';

/** A VM or VMI as port-forward, ssh and scp name it. */
export interface Target {
  readonly kind: 'vm' | 'vmi';
  readonly name: string;
  /** Undefined: the namespace of the connection. */
  readonly namespace: string | undefined;
}

const PLURAL = { vm: 'virtualmachines', vmi: 'virtualmachineinstances' } as const;
export const pluralOf = ({ kind }: Target): (typeof PLURAL)['vm' | 'vmi'] => PLURAL[kind];

/**
 * `type/name`, `type/name/namespace`, the older `type/name.namespace`, and a bare name, which means an instance.
 * Throws CommandFailure for anything else.
 */
export function parseTarget(text: string): Target {
  if (text === '') throw new CommandFailure('target cannot be empty');
  const parts = text.split('/');
  if (parts.length > 3) throw new CommandFailure("target is not valid with more than two '/'");
  const [first = '', second, third] = parts;
  const kind = second === undefined ? 'vmi' : kindOf(first);
  if (kind === undefined) throw new CommandFailure(`unsupported resource type '${first}'`);
  if (third === '') throw new CommandFailure('namespace cannot be empty');
  const full = second ?? first;
  const dot = third === undefined ? full.indexOf('.') : -1; // with a namespace of its own, a name may have dots
  const name = dot < 0 ? full : full.slice(0, dot);
  if (name === '') throw new CommandFailure('name cannot be empty');
  return { kind, name, namespace: third ?? (dot < 0 ? undefined : full.slice(dot + 1)) };
}
