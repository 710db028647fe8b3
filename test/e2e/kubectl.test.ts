import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idleVm } from './src/manifests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

interface Vmi {
  status?: { phase?: string };
}

describe('kubectl', () => {
  let platform: Platform;
  let pod: string;
  let scratch: string;

  /** What a command prints; it must succeed and may not warn. */
  const quiet = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await platform.tryKubectl(...args);
    expect({ code, stderr }, `kubectl ${args.join(' ')}`).toEqual({ code: 0, stderr: '' });
    return stdout;
  };
  const file = (name: string, content: string): string => {
    const path = join(scratch, name);
    writeFileSync(path, content);
    return path;
  };

  beforeAll(async () => {
    scratch = mkdtempSync('/tmp/sw-e2e-kubectl-');
    const editor = file('editor.sh', '#!/bin/sh\nsed -i \'s/merge: "1"/merge: edited/\' "$1"\n');
    chmodSync(editor, 0o755);
    process.env['KUBE_EDITOR'] = editor; // the platform's commands take the environment of this moment
    platform = await startPlatform();
    await platform.apply(idleVm('idle'));
    await platform.until<Vmi>('vmi idle', (vmi) => vmi.status?.phase === 'Running', 120_000);
    pod = (await quiet('get', 'pods', '-l', 'kubevirt.io=virt-launcher', '-o', 'name')).trim();
  });

  afterAll(async () => {
    delete process.env['KUBE_EDITOR'];
    rmSync(scratch, { recursive: true, force: true });
    await platform?.destroy();
  });

  it.each([
    ['vm', /^NAME +AGE +STATUS +READY\nidle +\S+ +Running +True\n$/],
    ['vmi -o wide', /LIVE-MIGRATABLE +PAUSED\nidle .*Running/],
    ['vm,vmi,pods -A', /default +virtualmachine\.kubevirt\.io\/idle/],
    ['nodes -o wide', /INTERNAL-IP.*\n\S+ +Ready/],
    ['vm idle -o jsonpath={.status.printableStatus}', /^Running$/],
    ['vm -o custom-columns=A:.metadata.name,B:.spec.runStrategy', /^A +B\nidle +Always\n$/],
    ['vm idle -o yaml', /printableStatus: Running/],
    ['vm idle -o name', /^virtualmachine\.kubevirt\.io\/idle\n$/],
    ['vm --show-labels', /idle .*<none>/],
    ['pods -A --field-selector=status.phase=Running', /virt-launcher-idle/],
    ['events --sort-by=.lastTimestamp', /SuccessfulCreate/],
    ['sc', /local \(default\)/],
    ['hco,kubevirt,cdi -A', /Deployed/],
    ['crd', /virtualmachines\.kubevirt\.io/],
    ['vm -w --request-timeout=2s', /idle/],
    ['--raw /readyz', /^ok$/],
  ])('get %s', async (args, expected) => {
    expect(await quiet('get', ...args.split(' '))).toMatch(expected);
  });

  it('get all warns of nothing but what KubeVirt itself deprecates', async () => {
    const { stderr } = await platform.tryKubectl('get', 'all');
    expect(stderr).toBe('Warning: kubevirt.io/v1 VirtualMachineInstancePresets is now deprecated and will be removed in v2.\n');
  });

  it('describes what a user looks at', async () => {
    await platform.apply({
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataVolume',
      metadata: {
        name: 'blank',
        namespace: 'default',
        annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' },
      },
      spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '16Mi' } } } },
    });
    await quiet('wait', 'dv/blank', '--for=jsonpath={.status.phase}=Succeeded', '--timeout=60s');
    for (const kind of ['vm', 'vmi', 'pod', 'node', 'dv', 'pvc', 'pv', 'sc', 'ns']) {
      const text = await quiet('describe', kind);
      expect(text, kind).toMatch(/^Name: /m);
      expect(text, kind).not.toMatch(/^ +Warning /m);
    }
    expect(await quiet('describe', 'hco', '-A')).toMatch(/Available/);
  });

  it('explains built-in kinds and custom ones, and lists what there is', async () => {
    expect(await quiet('explain', 'pod.spec.containers')).toMatch(/FIELD: containers/);
    expect(await quiet('explain', 'vm.spec.template.spec.domain.cpu')).toMatch(/cores\t<integer>/);
    expect(await quiet('explain', 'dv', '--recursive')).toMatch(/sourceRef/);
    expect(await quiet('explain', 'hco.spec')).toMatch(/FIELDS:/);
    expect(await quiet('api-resources')).toMatch(/virtualmachines +vm,vms +kubevirt\.io\/v1 +true +VirtualMachine/);
    expect(await quiet('api-versions')).toMatch(/^cdi\.kubevirt\.io\/v1beta1$/m);
  });

  it('applies on both sides and finds no difference afterwards', async () => {
    const path = file('vm.json', JSON.stringify(idleVm('idle')));
    expect(await quiet('apply', '-f', path)).toMatch(/unchanged/);
    expect(await quiet('diff', '-f', path)).toBe('');
    await quiet('apply', '--server-side', '--force-conflicts', '-f', path);
    await quiet('apply', '--server-side', '-f', path);
    expect(await quiet('diff', '--server-side', '-f', path)).toBe('');
  });

  it('diff shows a change and leaves it undone', async () => {
    const changed = file('changed.json', JSON.stringify(idleVm('idle')).replace('Always', 'Halted'));
    const { code, stdout } = await platform.tryKubectl('diff', '-f', changed);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^\+ +runStrategy: Halted$/m);
    expect(await quiet('get', 'vm', 'idle', '-o', 'jsonpath={.spec.runStrategy}')).toBe('Always');
  });

  it('changes objects by label, annotation, patch, edit and replace', async () => {
    await quiet('label', 'vm', 'idle', 'tier=web');
    await quiet('annotate', 'vm', 'idle', 'note=first');
    await quiet('annotate', '--overwrite', 'vm', 'idle', 'note=second');
    await quiet('patch', 'vm', 'idle', '--type=merge', '-p', '{"metadata":{"labels":{"merge":"1"}}}');
    await quiet('patch', 'vm', 'idle', '--type=json', '-p', '[{"op":"add","path":"/metadata/labels/json","value":"1"}]');
    expect(await quiet('edit', 'vm', 'idle')).toMatch(/edited/);
    const vm = JSON.parse(await quiet('get', 'vm', 'idle', '-o', 'json')); // a VM, checked below
    expect(vm.metadata.labels).toMatchObject({ tier: 'web', merge: 'edited', json: '1' });
    expect(vm.metadata.annotations).toMatchObject({ note: 'second' });
    await quiet('replace', '-f', file('live.json', JSON.stringify(vm)));
    await quiet('label', 'vm', 'idle', 'tier-', 'merge-', 'json-');
    await quiet('wait', 'vm/idle', '--for=condition=Ready', '--timeout=30s');
  });

  it('creates and deletes what kubectl create knows', async () => {
    await quiet('create', 'namespace', 'made');
    const made: readonly string[][] = [
      ['configmap', 'c', '--from-literal=a=b'],
      ['secret', 'generic', 's', '--from-literal=a=b'],
      ['secret', 'docker-registry', 'r', '--docker-username=u', '--docker-password=p', '--docker-server=x'],
      ['serviceaccount', 'bob'],
      ['role', 'reader', '--verb=get', '--resource=pods'],
      ['rolebinding', 'readers', '--role=reader', '--serviceaccount=made:bob'],
      ['deployment', 'd', '--image=nginx', '--port=80'],
      ['job', 'j', '--image=nginx'],
      ['cronjob', 'cj', '--image=nginx', '--schedule=0 0 * * *'],
      ['service', 'clusterip', 'web', '--tcp=80:80'],
      ['ingress', 'i', '--rule=example.test/=web:80'],
      ['quota', 'q', '--hard=configmaps=10'],
      ['poddisruptionbudget', 'p', '--selector=a=b', '--min-available=1'],
    ];
    for (const args of made) expect(await quiet('create', '-n', 'made', ...args)).toMatch(/ created\n$/);
    await quiet('patch', '-n', 'made', 'configmap', 'c', '-p', '{"data":{"x":"y"}}');
    expect(await quiet('get', '-n', 'made', 'configmap', 'c', '-o', 'jsonpath={.data}')).toBe('{"a":"b","x":"y"}');
    const token = (await quiet('create', '-n', 'made', 'token', 'bob')).trim();
    const asBob = [`--server=https://127.0.0.1:${platform.port}`, `--token=${token}`, '--insecure-skip-tls-verify'];
    const whoAmI = await quiet('auth', 'whoami', '--kubeconfig=/dev/null', ...asBob);
    expect(whoAmI).toMatch(/system:serviceaccount:made:bob/);
    await quiet('delete', 'namespace', 'made', '--timeout=60s');
  });

  it('answers who may do what', async () => {
    expect(await quiet('auth', 'whoami')).toMatch(/system:masters/);
    expect(await quiet('auth', 'can-i', 'create', 'vm')).toBe('yes\n');
    expect(await quiet('auth', 'can-i', '--list')).toMatch(/^\*\.\* +\[\] +\[\] +\[\*\]$/m);
    const refused = await platform.tryKubectl('auth', 'can-i', 'delete', 'vm', '--as=nobody');
    expect(refused).toEqual({ code: 1, stdout: 'no\n', stderr: '' });
  });

  it('reads the log of a launcher pod and follows it', async () => {
    await quiet('logs', pod);
    expect((await quiet('logs', pod, '--tail=1')).split('\n').length).toBeLessThanOrEqual(2);
    expect(await quiet('events', '--for', 'vmi/idle')).toMatch(/Started/);
  });

  it('keeps pods off a node and lets them on again', async () => {
    const node = (await quiet('get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}')).trim();
    await quiet('cordon', node);
    expect(await quiet('get', 'nodes')).toMatch(/Ready,SchedulingDisabled/);
    await quiet('uncordon', node);
    await quiet('taint', 'node', node, 'a=b:NoSchedule');
    expect(await quiet('describe', 'node', node)).toMatch(/Taints: +a=b:NoSchedule/);
    await quiet('taint', 'node', node, 'a-');
  });

  it.each([
    [['get', 'vm', 'nosuch'], /^Error from server \(NotFound\): virtualmachines\.kubevirt\.io "nosuch" not found\n$/],
    [['get', 'nosuch'], /^error: the server doesn't have a resource type "nosuch"\n$/],
    [['top', 'nodes'], /^error: Metrics API not available\n$/],
    [['patch', 'vm', 'idle', '-p', '{"metadata":{}}'], /is not supported by kubevirt\.io\/v1, Kind=VirtualMachine/],
    [['logs', 'nosuch'], /pods "nosuch" not found/],
  ])('%s fails as everywhere', async (args, message) => {
    const { code, stderr } = await platform.tryKubectl(...args);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });

  it('deletes and waits', async () => {
    expect(await quiet('delete', 'vm', 'idle', '--timeout=90s')).toMatch(/virtualmachine\.kubevirt\.io "idle" deleted/);
    await quiet('wait', '--for=delete', 'vmi/idle', '--timeout=60s');
    expect(await quiet('delete', 'vm', 'idle', '--ignore-not-found')).toBe('');
  });
});
