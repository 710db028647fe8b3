// Bundles each process into one file under dist/, so that a start loads one file. Writes dist/.stamp last.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const outdir = `${root}/dist`;

/** Name of the bundle → its entry point. */
const PROCESSES = {
  server: 'packages/daemon/src/server.ts',
  node: 'packages/daemon/src/node.ts',
  mover: 'packages/daemon/src/mover.ts',
  bench: 'test/perf/src/main.ts',
};

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  outExtension: { '.js': '.mjs' },
  sourcemap: false,
  legalComments: 'none',
  logLevel: 'warning',
  minifySyntax: true,
  minifyWhitespace: true,
  // Bundled CommonJS packages (ws, pino) ask for Node's own modules by require().
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
};

rmSync(`${outdir}/.stamp`, { force: true });
mkdirSync(outdir, { recursive: true });
await Promise.all([
  build({ ...common, entryPoints: PROCESSES, outdir }),
  // The command line loads a verb's code only when it is used.
  build({
    ...common,
    entryPoints: { slipway: 'packages/daemon/src/main.ts' },
    outdir,
    splitting: true,
    chunkNames: 'cli/[name]-[hash]',
  }),
]);
writeFileSync(`${outdir}/.stamp`, '');
