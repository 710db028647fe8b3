import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { constants, Script } from 'node:vm';
import { packProgram, unpackProgram } from './program-file.ts';

/** What a program exports. Loading it does nothing. */
interface Exports {
  /** Runs until it ends the process, or nothing is left to wait for. */
  readonly main: (args: readonly string[]) => Promise<void>;
  /** Loads and runs what is not loaded with it, but needed soon. */
  readonly rehearse?: () => Promise<void>;
}

/**
 * `start.cjs FILE.program ARGUMENT…` runs a program without compiling it again: that would take a tenth of a start (S1).
 * `start.cjs --pack FILE.cjs FILE.program` makes one from a bundle. V8 refuses code that was made by another version of
 * Node.js or with other flags, and compiles the source instead.
 */
const [first = '', ...rest] = process.argv.slice(2);
if (first === '--pack') void pack(rest[0] ?? '', rest[1] ?? '');
else run(first, rest);

function run(file: string, args: readonly string[]): void {
  const { source, code } = unpackProgram(readFileSync(file));
  const { main } = load(compile(file, source, code), file);
  main(args).catch((error: unknown) => {
    // where no handler of rejections takes it for a mishap of one request
    setImmediate(() => {
      throw error;
    });
  });
}

async function pack(bundle: string, target: string): Promise<void> {
  const source = readFileSync(bundle, 'utf8');
  const script = compile(bundle, source);
  const program = load(script, bundle); // what runs now runs at each start: its functions are compiled, too
  await program.rehearse?.();
  writeFileSync(target, packProgram({ source, code: script.createCachedData() }));
}

function compile(filename: string, source: string, cachedData?: Buffer): Script {
  return new Script(`(function (module, exports, require) {${source}\n})`, {
    filename,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(cachedData !== undefined && cachedData.length > 0 && { cachedData }),
  });
}

function load(script: Script, file: string): Exports {
  const module: { exports: Partial<Exports> } = { exports: {} };
  script.runInThisContext()(module, module.exports, createRequire(resolve(file)));
  return module.exports as Exports; // built from entries that export it
}
