// Checks the dependency rules of ARCHITECTURE.md on every import in packages/ and test/. Exit 1 with one line per breach.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A package may import packages of a lower rank only; equal rank means siblings that may not know each other. */
const RANK = {
  apimachinery: 0,
  api: 1,
  schema: 2,
  client: 3,
  store: 3,
  hostapi: 3,
  runtime: 4,
  virt: 4,
  'guest-images': 4,
  apiserver: 5,
  controllers: 5,
  cdi: 5,
  operators: 5,
  node: 5,
  cli: 6,
  daemon: 7,
  testkit: 8,
};

/** Third-party run-time packages and the folders that own them. */
const OWNERS = {
  ws: ['apiserver', 'client'],
  undici: ['client'],
  jose: ['apiserver'],
  '@peculiar/x509': ['apiserver'],
  'reflect-metadata': ['apiserver'],
  'js-yaml': ['apiserver'],
  yaml: ['client', 'cli'],
  '@marcbachmann/cel-js': ['schema'],
  'tar-stream': ['cdi'],
  pino: ['daemon'],
  commander: ['cli'],
};

const root = fileURLToPath(new URL('..', import.meta.url));
const breaches = [];

function check(file, owner, isTest, specifier) {
  const breach = (text) => breaches.push(`${file}: ${text}`);
  if (specifier.startsWith('.')) {
    if (owner && specifier.includes('/../packages/')) breach(`reaches into another package by path: ${specifier}`);
    return;
  }
  if (specifier === 'node:child_process' && owner && owner !== 'hostapi' && !isTest)
    breach('only packages/hostapi may spawn processes');
  const own = specifier.match(/^@slipway\/([^/]+)(\/.*)?$/);
  if (own) {
    const [, target, deep] = own;
    if (deep) breach(`deep import of ${specifier}; export it from the package's index.ts`);
    if (!(target in RANK)) breach(`unknown package ${specifier}`);
    else if (owner && target !== owner && RANK[target] >= RANK[owner] && !(isTest && target === 'testkit'))
      breach(`${owner} may not import ${target}`);
    else if (target === 'testkit' && !isTest) breach('testkit is for tests');
    return;
  }
  const name = specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : specifier.split('/')[0];
  const owners = OWNERS[name];
  if (owners && owner && !isTest && !owners.includes(owner)) breach(`${name} belongs to ${owners.join(', ')}`);
}

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'], {
  cwd: root,
  encoding: 'utf8',
});
for (const file of tracked.split('\n').filter((name) => /^(packages|test)\//.test(name))) {
  let text;
  try {
    text = readFileSync(`${root}/${file}`, 'utf8');
  } catch {
    continue; // deleted in the work tree
  }
  const owner = file.match(/^packages\/([^/]+)\//)?.[1];
  const isTest = /\.test\.ts$/.test(file) || file.startsWith('test/');
  for (const match of text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g,
  ))
    check(file, owner, isTest, match[1] ?? match[2] ?? match[3]);
}
for (const line of breaches) console.error(line);
console.log(breaches.length === 0 ? 'boundaries: ok' : `boundaries: ${breaches.length} breaches`);
process.exitCode = breaches.length === 0 ? 0 : 1;
