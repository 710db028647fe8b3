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
  helm: 4,
  virt: 4,
  'guest-images': 4,
  apiserver: 5,
  controllers: 5,
  cdi: 5,
  gitops: 5,
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
  'js-yaml': ['apiserver', 'helm'],
  yaml: ['client', 'cli'],
  '@marcbachmann/cel-js': ['schema'],
  re2js: ['helm', 'schema'],
  aws4fetch: ['cdi'],
  'tar-stream': ['cdi', 'helm'],
  'dns-packet': ['node'],
  pino: ['daemon'],
  commander: ['cli'],
  croner: ['runtime'],
  '@cdktn/hcl2json': ['daemon'],
};

const root = fileURLToPath(new URL('..', import.meta.url));
const breaches = [];

/** The breach of one import as text, or undefined. */
function breachOf(importer, specifier) {
  if (specifier.startsWith('.'))
    return specifier.includes('/packages/') ? `reaches into another package by path: ${specifier}` : undefined;
  if (specifier === 'node:child_process')
    return importer.owner === 'hostapi' || importer.isTest ? undefined : 'only packages/hostapi may spawn processes';
  const own = specifier.match(/^@slipway\/([^/]+)(\/.*)?$/);
  return own ? packageBreach(importer, own[1], own[2]) : thirdPartyBreach(importer, specifier);
}

function packageBreach({ owner, isTest }, target, deep) {
  if (deep) return `deep import of @slipway/${target}${deep}; export it from the package's index.ts`;
  if (!(target in RANK)) return `unknown package @slipway/${target}`;
  if (target === 'testkit') return isTest || owner === 'testkit' ? undefined : 'testkit is for tests';
  if (owner === undefined || target === owner || RANK[target] < RANK[owner]) return undefined;
  return `${owner} may not import ${target}`;
}

function thirdPartyBreach({ owner, isTest }, specifier) {
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const owners = OWNERS[name];
  if (owners === undefined || owner === undefined || isTest || owners.includes(owner)) return undefined;
  return `${name} belongs to ${owners.join(', ')}`;
}

const IMPORTS = /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g;

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
  const importer = {
    owner: file.match(/^packages\/([^/]+)\//)?.[1],
    isTest: /\.test\.ts$|\/testing\//.test(file) || file.startsWith('test/'),
  };
  for (const match of text.matchAll(IMPORTS)) {
    const breach = breachOf(importer, match[1] ?? match[2] ?? match[3]);
    if (breach) breaches.push(`${file}: ${breach}`);
  }
}
for (const line of breaches) console.error(line);
console.log(breaches.length === 0 ? 'boundaries: ok' : `boundaries: ${breaches.length} breaches`);
process.exitCode = breaches.length === 0 ? 0 : 1;
