import { describe, expect, it } from 'vitest';
import { remoteDependencies } from './chart-dependencies.ts';
import { chartPlace, isChartSource, tagOf, versionOfTag } from './chart-place.ts';
import { chooseVersion, isExactVersion, readChartIndex } from './chart-versions.ts';

const VERSIONS = ['0.9.0', '1.0.0', '1.2.0', '1.10.1', '2.0.0-rc.1', 'v2.1.0', '2.1.0+build.7', '3.0.0-alpha', 'nightly', ''];

describe('chooseVersion', () => {
  it.each([
    ['', 'v2.1.0'],
    ['*', 'v2.1.0'],
    ['HEAD', 'v2.1.0'],
    ['>0.0.0-0', '3.0.0-alpha'],
    ['1.0.0', '1.0.0'],
    ['v1.0.0', '1.0.0'],
    ['1', '1.10.1'],
    ['1.x', '1.10.1'],
    ['1.2.*', '1.2.0'],
    ['^1.0.0', '1.10.1'],
    ['~1.2', '1.2.0'],
    ['>=1.0.0 <1.10.0', '1.2.0'],
    ['>=1.0.0, <2.0.0', '1.10.1'],
    ['1.0.0 - 1.2.0', '1.2.0'],
    ['^0.9 || ^1.2', '1.10.1'],
    ['2.0.0-rc.1', '2.0.0-rc.1'],
    ['~2.0.0-0', '2.0.0-rc.1'],
    ['2.1.0+build.7', '2.1.0+build.7'],
    ['nightly', 'nightly'],
    ['~2.0.0', undefined],
    ['>=4', undefined],
    ['weekly', undefined],
    ['>>1', undefined],
  ])('%s means %s', (wanted, version) => {
    expect(chooseVersion(VERSIONS, wanted)).toBe(version);
  });

  it.each([
    ['1.2.3', true],
    ['v1.2.3', true],
    ['1.2.3-rc.1+b', true],
    ['1.2', false],
    ['^1.2.3', false],
    ['1.2.x', false],
    ['*', false],
    ['', false],
  ])('%s is one version: %s', (text, isExact) => {
    expect(isExactVersion(text)).toBe(isExact);
  });
});

describe('chartPlace', () => {
  it.each([
    [
      'https://charts.example/stable',
      'web',
      { type: 'http', repository: new URL('https://charts.example/stable/'), chart: 'web' },
    ],
    ['http://charts.example?a=b#c', 'web', { type: 'http', repository: new URL('http://charts.example/?a=b'), chart: 'web' }],
    [
      'oci://registry.example/charts',
      'web',
      { type: 'oci', registry: 'registry.example', repository: 'charts/web', chart: 'web' },
    ],
    [
      'registry.example:5000/charts/',
      'web',
      { type: 'oci', registry: 'registry.example:5000', repository: 'charts/web', chart: 'web' },
    ],
    [
      'oci://registry.example/charts/web',
      '',
      { type: 'oci', registry: 'registry.example', repository: 'charts/web', chart: 'web' },
    ],
    ['registry-1.docker.io/team', 'web', { type: 'oci', registry: 'registry-1.docker.io', repository: 'team/web', chart: 'web' }],
  ])('%s, %s', (repoURL, chart, place) => {
    expect(chartPlace(repoURL, chart)).toEqual(place);
  });

  it.each([
    ['https://user:hunter2@charts.example', 'web', 'credentials in the URL'],
    ['ftp://charts.example', 'web', 'not supported'],
    ['file:///srv/charts', 'web', 'not supported'],
    ['https://charts.example', '../web', 'not supported'],
    ['https://charts.example', 'a/b', 'not supported'],
    ['team/charts', 'web', 'not a repository of a registry'],
    ['oci://registry.example/charts', '../../v2', 'not a repository of a registry'],
    ['oci://registry.example/charts', 'web:1.0.0', 'not a repository of a registry'],
    ['oci://registry.example/charts', 'web@sha256:0', 'not a repository of a registry'],
    ['oci://registry.example@evil.example/charts', 'web', 'not a repository of a registry'],
    ['oci://registry.example:99999/charts', 'web', 'not a repository of a registry'],
    ['oci://', '', 'not a repository of a registry'],
  ])('refuses %s, %s', (repoURL, chart, complaint) => {
    expect(() => chartPlace(repoURL, chart)).toThrow(complaint);
    expect(() => chartPlace(repoURL, chart)).not.toThrow('hunter2');
  });

  it('tells charts from git', () => {
    expect(isChartSource({ repoURL: 'https://git.example/a.git' })).toBe(false);
    expect(isChartSource({ repoURL: 'https://git.example/a.git', chart: '' })).toBe(false);
    expect(isChartSource({ repoURL: 'https://charts.example', chart: 'web' })).toBe(true);
    expect(isChartSource({ repoURL: 'oci://registry.example/web' })).toBe(true);
  });

  it('writes versions as tags', () => {
    expect(tagOf('1.0.0+a.b')).toBe('1.0.0_a.b');
    expect(versionOfTag('1.0.0_a.b')).toBe('1.0.0+a.b');
    expect(tagOf('../../x')).toBeUndefined();
  });
});

describe('readChartIndex', () => {
  const DIGEST = 'a'.repeat(64);

  const WEB = [{ version: '1.0.0', url: 'web-1.0.0.tgz', digest: DIGEST }];

  it.each([
    `apiVersion: v1\nentries:\n  web:\n  - {version: 1.0.0, urls: [web-1.0.0.tgz], digest: ${DIGEST}}\n  - {version: 2.0.0, urls: []}\n  - {version: 3.0.0, urls: [x], removed: true}\n  odd: text\n`,
    `apiVersion: v1\nentries:\n  a:\n  - version: 9.0.0\n    urls: [x]\n    description: |\n      web:\n      - no\n  web:\n  - urls:\n    - web-1.0.0.tgz\n    version: 1.0.0\n    digest: ${DIGEST}\n  z:\n  - version: 8.0.0\n    urls: [x]\ngenerated: "2024"\n`,
    `entries:\r\n    'web':\r\n        - urls: [web-1.0.0.tgz]\r\n          version: 1.0.0\r\n          digest: ${DIGEST}\r\n    z: []\r\n`,
    `entries:\n  a: &shared\n  - {version: 1.0.0, urls: [web-1.0.0.tgz], digest: ${DIGEST}}\n  web: *shared\n`,
    `{entries: {web: [{version: 1.0.0, urls: [web-1.0.0.tgz], digest: "${DIGEST}"}]}}`.replace(/^/, '# made by hand\n'),
    JSON.stringify({
      entries: { web: [{ version: '1.0.0', urls: ['web-1.0.0.tgz'], digest: `sha256:${DIGEST}` }, {}], odd: [] },
    }),
  ])('reads %s', (text) => {
    expect(readChartIndex(text, 'web')).toEqual(WEB);
    expect(readChartIndex(text, 'none')).toBeUndefined();
    expect(readChartIndex(text, 'constructor')).toBeUndefined();
  });

  it('reads one chart of many, and no more than can be read in time', () => {
    const others = Array.from(
      { length: 2000 },
      (_none, at) => `  other${at}:\n  - description: ${'x'.repeat(3000)}\n    version: 1.0.0\n`,
    );
    const large = `entries:\n${others.join('')}  web:\n  - version: 1.0.0\n    urls: [web-1.0.0.tgz]\n    digest: ${DIGEST}\n`;
    expect(large.length).toBeGreaterThan(4 * 1024 * 1024);
    expect(readChartIndex(large, 'web')).toEqual(WEB);
    expect(readChartIndex(large, 'none')).toBeUndefined();
    expect(() => readChartIndex(`entries: {web: [${'{a: 1},'.repeat(700_000)}]}`, 'web')).toThrow('publish it with --json');
  });

  it.each(['', '<html>', 'entries: 5', '{"entries": ', 'entries: ['])('refuses %j', (text) => {
    expect(() => readChartIndex(text, 'web')).toThrow('not the index of a Helm repository');
  });
});

describe('remoteDependencies', () => {
  const lock = (text: string) => [{ path: 'Chart.lock', data: new TextEncoder().encode(text) }];
  const web = { name: 'web', repository: 'https://charts.example', version: '^1.0.0' };

  it('takes the version that was locked, else the range', () => {
    expect(remoteDependencies([], [web])).toEqual([web]);
    expect(remoteDependencies(lock('dependencies: [{name: web, version: 1.2.3}]'), [web])).toEqual([
      { ...web, version: '1.2.3' },
    ]);
    expect(remoteDependencies([], [{ name: 'web', repository: 'alias:main' }])).toEqual([
      { name: 'web', repository: '@main', version: '*' },
    ]);
  });

  it('leaves charts that come from nowhere missing', () => {
    expect(remoteDependencies([], [web, { name: 'other' }])).toBeUndefined();
    expect(remoteDependencies([], [{ name: 'other', repository: 'file://../other' }])).toBeUndefined();
  });

  it('refuses a lock that does not fit', () => {
    expect(() => remoteDependencies(lock('dependencies: [{name: web, version: 2.0.0}]'), [web])).toThrow('out of sync');
    expect(() => remoteDependencies(lock('dependencies: []'), [web])).toThrow('out of sync');
    expect(() => remoteDependencies(lock('['), [web])).toThrow('cannot read Chart.lock');
  });
});
