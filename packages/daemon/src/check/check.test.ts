import { describe, expect, it } from 'vitest';
import { findingsOf, formatFinding } from './check.ts';
import { locateObjects, pathOf } from './located.ts';

const OPTIONS = { output: 'text', nodes: 1, nodeMemory: '8Gi', nodeCpus: 4, memoryOvercommit: 300 };

async function check(text: string, options = {}): Promise<string[]> {
  const { objects, findings } = locateObjects('a.yaml', text);
  const more = await findingsOf(objects, { ...OPTIONS, ...options }, new AbortController().signal);
  return [...findings, ...more].map(formatFinding);
}

const vm = (name: string, inner = '', memory = '1Gi', userData = '#cloud-config'): string => `apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: ${name}}
spec:
  runStrategy: Always
  template:
    spec:
      domain:
        memory:
          guest: ${memory}
        devices:
          disks:
            - name: seed
              disk: {bus: virtio}
${inner}      volumes:
        - name: seed
          cloudInitNoCloud:
            userData: |
              ${userData.replaceAll('\n', '\n              ')}
`;

describe('slipway check', () => {
  it('has nothing to say about what is right', { timeout: 60_000 }, async () => {
    const typed = vm('b')
      .replace('  template:', '  instancetype: {name: u1.small}\n  template:')
      .replace(/ {8}memory:\n.*\n/, '');
    const others =
      'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: c}\n  data: {a: "1"}\n';
    expect(await check(`# a comment\n${vm('a')}---\n${typed}---\n---\n${others}`)).toEqual([]);
  });

  it('names file, line, document and field', { timeout: 60_000 }, async () => {
    const wrong = vm('b', '            - name: nowhere\n              disk: {bus: virtio}\n          disk: []\n');
    const lines = await check(`${vm('a')}---\n${wrong}`);
    expect(lines).toEqual([
      expect.stringMatching(
        /^a\.yaml:35: error: document 2, VirtualMachine b: spec\.template\.spec\.domain\.devices\.disks\[1\]\.name: .*nowhere/,
      ),
      'a.yaml:37: error: document 2, VirtualMachine b: spec.template.spec.domain.devices.disk: unknown field',
    ]);
  });

  it('finds what is no YAML, no object and no kind', { timeout: 60_000 }, async () => {
    expect(await check('a: 1\n---\nb: [\n')).toEqual([
      'a.yaml:1: error: document 1: no object: apiVersion and kind are missing',
      expect.stringMatching(/^a\.yaml:\d+: error: document 2: /),
    ]);
    expect(await check('apiVersion: kubevirt.io/v1\nkind: VirtualMachin\nmetadata: {name: a}\n')).toEqual([
      'a.yaml:2: error: document 1, VirtualMachin a: kind: no kind "VirtualMachin" in version "kubevirt.io/v1"',
    ]);
  });

  it('reads cloud-init data as a guest would', { timeout: 60_000 }, async () => {
    const [broken] = await check(vm('a', '', '1Gi', '#cloud-config\nusers: [\nx'));
    expect(broken).toMatch(/^a\.yaml:\d+: error: document 1, VirtualMachine a: spec.*\.userData: cloud-init cannot read it/);
    expect(await check(vm('a', '', '1Gi', '#cloud-config\nruncmd: ls'))).toEqual([
      expect.stringContaining('.userData: cloud-init wants a list at runcmd'),
    ]);
    expect(await check(vm('a', '', '1Gi', 'user: ann'))).toEqual([
      expect.stringContaining('warning: document 1, VirtualMachine a'),
    ]);
  });

  it('counts what the nodes would have to give', { timeout: 60_000 }, async () => {
    expect(await check(vm('a', '', '32Gi'))).toEqual([expect.stringContaining('asks a node for 10.7Gi; the largest has 8Gi')]);
    expect(await check(`${vm('a', '', '16Gi')}---\n${vm('b', '', '16Gi')}`)).toEqual([
      expect.stringMatching(/^a\.yaml:2\d: warning: document 2.* more memory than 1 x 8Gi/),
    ]);
    expect(await check(`${vm('a', '', '16Gi')}---\n${vm('b', '', '16Gi')}`, { nodes: 2 })).toEqual([]);
  });

  it('names the option whose size it cannot read', async () => {
    await expect(check(vm('a'), { nodeMemory: '64GG' })).rejects.toThrow('--node-memory: not a size: 64GG; for example 64Gi');
  });

  it('refuses the same name twice', { timeout: 60_000 }, async () => {
    expect(await check(`${vm('a')}---\n${vm('a')}`)).toEqual([expect.stringContaining('already exists')]);
  });
});

describe('pathOf', () => {
  it('takes a field apart', () => {
    expect(pathOf('spec.disks[0].labels["a.b/c"].d')).toEqual(['spec', 'disks', 0, 'labels', 'a.b/c', 'd']);
  });
});
