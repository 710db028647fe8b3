import { describe, expect, it } from 'vitest';
import { Command, parseListen, withTextOrJson } from './program.ts';

describe('parseListen', () => {
  it.each([
    ['127.0.0.1:6443', '127.0.0.1', 6443],
    [':7443', '0.0.0.0', 7443],
    ['[::1]:1', '::1', 1],
  ])('reads %s', (text, host, port) => {
    expect(parseListen(text)).toEqual({ host, port });
  });

  // a certificate is made for the address, and nodes are told it
  it.each([
    'localhost:6443',
    '300.0.0.1:6443',
    '[::g]:6443',
    '[1:2]:6443',
    '6443',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
  ])('refuses %s', (text) => {
    expect(() => parseListen(text)).toThrow('Give an address and a port');
  });
});

describe('withTextOrJson', () => {
  const parse = (...words: string[]): unknown =>
    withTextOrJson(new Command('list'))
      .exitOverride()
      .configureOutput({ writeErr: () => {} })
      .parse(words, { from: 'user' })
      .opts();

  it('is text unless something else is asked for', () => {
    expect(parse()).toEqual({ output: 'text' });
    expect(parse('-o', 'json')).toEqual({ output: 'json' });
  });

  it('refuses what is neither', () => {
    expect(() => parse('-o', 'xml')).toThrow('text, json');
  });
});
