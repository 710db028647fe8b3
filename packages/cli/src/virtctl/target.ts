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
  const parts = text.split('/');
  if (parts.length > 3 || parts.some((part) => part === ''))
    throw new CommandFailure("target must contain type and name separated by '/'");
  const [first = '', second, third] = parts;
  const kind = second === undefined ? 'vmi' : kindOf(first);
  if (kind === undefined) throw new CommandFailure(`unsupported resource type '${first}'`);
  const [name = '', ...dotted] = (second ?? first).split('.');
  if (name === '') throw new CommandFailure(`expected name after '${first}/'`);
  const namespace = third ?? (dotted.length > 0 ? dotted.join('.') : undefined);
  return { kind, name, namespace };
}
