import { describe, expect, it } from 'vitest';
import { type AgentFlags, type AgentOptions, importAddressesOf, withAgentFlags } from './agent-options.ts';

const ALLOWED: AgentOptions = { allowLoopbackImports: true };

describe('withAgentFlags', () => {
  it.each<[string, AgentOptions, AgentFlags, AgentOptions]>([
    ['nothing at first', {}, {}, {}],
    ['what is given', {}, { allowLoopbackImports: true }, ALLOWED],
    ['what was given before', ALLOWED, {}, ALLOWED],
    ['the same given again', ALLOWED, { allowLoopbackImports: true }, ALLOWED],
    ['nothing more when it is taken back', ALLOWED, { allowLoopbackImports: false }, {}],
  ])('remembers %s', (_, remembered, flags, expected) => {
    expect(withAgentFlags(remembered, flags)).toEqual(expected);
  });

  it('lets imports reach this machine only when it is allowed', () => {
    expect(importAddressesOf({})).toEqual([]);
    expect(importAddressesOf(ALLOWED)).toEqual(['127.0.0.0/8', '::1/128']);
  });
});
