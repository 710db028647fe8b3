import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { XdrReader, XdrWriter } from './xdr.ts';

describe('XDR', () => {
  it('reads back what it wrote, in multiples of four bytes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.option(fc.string(), { nil: undefined }),
        fc.integer(),
        (text, optional, number) => {
          const bytes = new XdrWriter()
            .string(text)
            .optionalString(optional)
            .int(number | 0)
            .opaque(Buffer.alloc(5, 7))
            .toBuffer();
          expect(bytes.length % 4).toBe(0);
          const reader = new XdrReader(bytes);
          expect([reader.string(), reader.optionalString(), reader.int()]).toEqual([text, optional, number | 0]);
          expect(reader.opaque(5)).toEqual(Buffer.alloc(5, 7));
          expect(reader.remaining).toBe(0);
        },
      ),
    );
  });

  it('refuses lengths beyond the message instead of allocating them', () => {
    const bytes = new XdrWriter().uint(0x7fffffff).toBuffer();
    expect(() => new XdrReader(bytes).string()).toThrow(/too early/);
    expect(() => new XdrReader(bytes).array(() => 1)).toThrow(/items/);
  });
});
