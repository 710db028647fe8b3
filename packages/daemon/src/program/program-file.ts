/**
 * A program of the platform as one file: a line of JSON with the sizes in bytes, the source (CommonJS, UTF-8), and what V8
 * made of it when it was built. One file, because V8 tells a source from another by its length alone: code of one build
 * beside the source of another would run.
 */
export interface Program {
  readonly source: string;
  readonly code: Buffer;
}

interface Sizes {
  readonly source: number;
  readonly code: number;
}

const NEWLINE = 0x0a;

export function packProgram({ source, code }: Program): Buffer {
  const text = Buffer.from(source);
  const sizes: Sizes = { source: text.length, code: code.length };
  return Buffer.concat([Buffer.from(`${JSON.stringify(sizes)}\n`), text, code]);
}

/** Throws when the file is not whole. */
export function unpackProgram(file: Buffer): Program {
  const start = file.indexOf(NEWLINE) + 1;
  const sizes = JSON.parse(file.toString('utf8', 0, start)) as Sizes; // written by packProgram
  const middle = start + sizes.source;
  if (file.length !== middle + sizes.code) throw new Error('The program is not whole; run `slipway up` again');
  return { source: file.toString('utf8', start, middle), code: file.subarray(middle) };
}
