import { describe, expect, it } from 'vitest';
import { packProgram, unpackProgram } from './program-file.ts';

const program = { source: 'exports.main = () => "µ\n{}";\n', code: Buffer.from([0, 10, 255, 1]) };

describe('files of programs', () => {
  it('keep source and code', () => {
    const { source, code } = unpackProgram(packProgram(program));
    expect(source).toBe(program.source);
    expect([...code]).toEqual([...program.code]);
  });

  it('may have no code', () => {
    expect(unpackProgram(packProgram({ ...program, code: Buffer.alloc(0) })).source).toBe(program.source);
  });

  it('are refused when they are cut off anywhere', () => {
    const whole = packProgram(program);
    for (let length = 0; length < whole.length; length++) expect(() => unpackProgram(whole.subarray(0, length))).toThrow();
  });
});
