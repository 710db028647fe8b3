// Bundles each process into one file under dist/, so that a start loads one file. Writes dist/.stamp last.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const outdir = `${root}/dist`;

/** Name of the bundle → its entry point. */
const PROCESSES = {
  mover: 'packages/daemon/src/mover.ts',
  bench: 'test/perf/src/main.ts',
};

/** The command line and what it starts: they come with what V8 makes of them, for packages/daemon/src/program/start.ts. */
const PROGRAMS = {
  start: 'packages/daemon/src/program/start.ts',
  slipway: 'packages/daemon/src/main.ts',
  server: 'packages/daemon/src/server.ts',
  node: 'packages/daemon/src/node.ts',
};

const shared = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  sourcemap: false,
  legalComments: 'none',
  logLevel: 'warning',
  minifySyntax: true,
  minifyWhitespace: true,
};

const common = {
  ...shared,
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  // Bundled CommonJS packages (ws, pino) ask for Node's own modules by require().
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
};

rmSync(`${outdir}/.stamp`, { force: true });
mkdirSync(outdir, { recursive: true });
await Promise.all([
  build({ ...common, entryPoints: PROCESSES, outdir }),
  build({ ...shared, format: 'cjs', outExtension: { '.js': '.cjs' }, entryPoints: PROGRAMS, outdir }),
]);
const flags = JSON.parse(readFileSync(`${root}/packages/daemon/src/lifecycle/node-flags.json`, 'utf8'));
for (const [name, own] of Object.entries({ slipway: [], server: flags, node: flags })) {
  const bundle = `${outdir}/${name}.cjs`;
  execFileSync(process.execPath, [...own, `${outdir}/start.cjs`, '--pack', bundle, `${outdir}/${name}.program`]);
  rmSync(bundle);
}
// for scripts that call the command line without the launcher
writeFileSync(
  `${outdir}/slipway.mjs`,
  `import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
process.argv.splice(2, 0, fileURLToPath(new URL('slipway.program', import.meta.url)));
createRequire(import.meta.url)('./start.cjs');
`,
);
writeFileSync(`${outdir}/.stamp`, '');
