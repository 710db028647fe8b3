import { readFile } from 'node:fs/promises';
import { isObject, type JsonObject } from '@slipway/apimachinery';
import { parse, stringify } from 'yaml';
import { CommandFailure, print, type VirtctlIo } from '../io.ts';

export interface NamedInput {
  readonly name?: string;
  readonly file?: string;
  readonly output: string;
}

/** The name or the file of a command line; a name may also be the argument. Throws CommandFailure unless there is one. */
export function inputOf(argument: string | undefined, { name, file, output }: NamedInput): { name?: string; file?: string } {
  if (argument !== undefined && file !== undefined) throw new CommandFailure('only one of name or file can be provided');
  if (argument !== undefined && name !== undefined)
    throw new CommandFailure('provide name either from positional argument or from flag');
  const named = argument ?? name;
  if (named === undefined && file === undefined) throw new CommandFailure('name or file must be provided');
  if (output !== 'yaml' && output !== 'json') throw new CommandFailure(`not supported output format: ${output}`);
  return { ...(named !== undefined && { name: named }), ...(file !== undefined && { file }) };
}

/** The object in a file of YAML or JSON; `-` is stdin. Throws CommandFailure for anything else. */
export async function readObject(io: VirtctlIo, file: string, what: string): Promise<JsonObject> {
  const text = file === '-' ? await readStdin(io) : await readText(file);
  try {
    const value: unknown = parse(text, { version: '1.1' });
    if (isObject(value)) return value;
  } catch (error) {
    throw new CommandFailure(`error decoding ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw new CommandFailure(`error decoding ${what}: ${file} holds no object`);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CommandFailure(`error opening file ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readStdin({ stdin }: VirtctlIo): Promise<string> {
  let text = '';
  for await (const piece of stdin) text += typeof piece === 'string' ? piece : Buffer.from(piece).toString();
  return text;
}

export function printObject(io: VirtctlIo, value: unknown, output: string): void {
  print(
    io,
    output === 'json'
      ? JSON.stringify(value, undefined, 1)
      : stringify(value, { sortMapEntries: true, indentSeq: false, lineWidth: 0 }).trimEnd(),
  );
}
