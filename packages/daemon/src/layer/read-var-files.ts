import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { isObject } from '@slipway/apimachinery';
import { checkoutRoot } from '../checkout.ts';
import { UserError } from '../report-failure.ts';

export type Values = Readonly<Record<string, unknown>>;

/** For input that only its author can mend. */
export const EXIT_BAD_INPUT = 2;

/** The variables of `.tfvars` and `.tfvars.json` files; those of later files win, as with Terraform. */
export async function readVarFiles(paths: readonly string[]): Promise<Values> {
  const values: Record<string, unknown> = {};
  for (const path of paths) Object.assign(values, await readVarFile(path));
  return values;
}

async function readVarFile(path: string): Promise<Values> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UserError(`Cannot read the variables file ${path}: ${reasonOf(error)}`, EXIT_BAD_INPUT);
  });
  const parsed = await (path.endsWith('.json') ? parseJson(path, text) : parseHcl(path, text));
  if (!isObject(parsed)) throw new UserError(`${path} holds no variables`, EXIT_BAD_INPUT);
  return parsed;
}

async function parseJson(path: string, text: string): Promise<unknown> {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError(`${path}: ${reasonOf(error)}`, EXIT_BAD_INPUT);
  }
}

interface HclParser {
  parse(filename: string, contents: string): Promise<unknown>;
}

/** Expressions come back as the text `${…}`: whoever reads a value says that it must not be one. */
async function parseHcl(path: string, text: string): Promise<unknown> {
  // by require: it stays out of the program, as its WebAssembly has to be found beside it, and its types bring the DOM's along
  const parser = createRequire(join(checkoutRoot(), 'package.json'))('@cdktn/hcl2json') as HclParser; // as its documentation says
  try {
    return await parser.parse(path, text);
  } catch (error) {
    throw new UserError(`${path}${syntaxFault(path, reasonOf(error))}`, EXIT_BAD_INPUT);
  }
}

/** ` line 2, column 1: Missing item separator; …` of the parser's `parse config: [FILE:2,1-2: Missing …]`. */
function syntaxFault(path: string, message: string): string {
  const faults = message.replace(/^parse config: \[/, '').replace(/\]$/, '');
  const [, line, column, fault] = /^(\d+),(\d+)(?:-\S+)?: (.*)$/s.exec(faults.replace(`${path}:`, '')) ?? [];
  return fault === undefined ? `: ${message}` : ` line ${line}, column ${column}: ${fault}`;
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
