import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StatusError } from '@slipway/apimachinery';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { virtctl } from './testing.ts';

const sub = '/apis/subresources.kubevirt.io/v1/namespaces/default';
const kubevirtPath = '/apis/kubevirt.io/v1/namespaces/default';
const missing = (): never => {
  throw new StatusError({ code: 404, reason: 'NotFound', message: 'not found' });
};

describe('adm log-verbosity', () => {
  const list = 'GET /apis/kubevirt.io/v1/namespaces//kubevirts';
  const one = 'GET /apis/kubevirt.io/v1/namespaces/virt/kubevirts/kubevirt';
  const kubevirt = (logVerbosity?: object) => [
    { metadata: { name: 'kubevirt', namespace: 'virt' }, spec: { configuration: { developerConfiguration: { logVerbosity } } } },
  ];

  const answers = { [list]: () => kubevirt({ virtAPI: 5 }), [one]: () => kubevirt({ virtAPI: 5 })[0] };

  it('shows levels, those that are not set too', async () => {
    expect((await virtctl('adm log-verbosity --virt-api --virt-handler', { answers })).out).toBe(
      'virt-api = 5\nvirt-handler = 2\n',
    );
  });

  it.each([
    ['--virt-api=7', { virtAPI: 7 }],
    ['--virt-handler=7', { virtAPI: 5, virtHandler: 7 }],
    ['--reset --virt-handler=7', { virtHandler: 7 }],
    ['--reset', {}],
    ['--all=1', { virtAPI: 1, virtController: 1, virtHandler: 1, virtLauncher: 1, virtOperator: 1 }],
  ])('sets %s', async (flags, logVerbosity) => {
    const { requests } = await virtctl(`adm log-verbosity ${flags}`, { answers });
    const [, path, body = ''] = requests[2]?.split(' ') ?? [];
    expect(path).toBe('/apis/kubevirt.io/v1/namespaces/virt/kubevirts/kubevirt');
    const at = '/spec/configuration/developerConfiguration/logVerbosity';
    expect(JSON.parse(body)).toEqual([{ op: 'add', path: at, value: logVerbosity }]);
  });

  it.each([
    ['', 'no flag specified'],
    ['--virt-api=11', 'virt-api: log verbosity must be 0-9'],
    ['--virt-api --virt-handler=3', 'only show or set is allowed'],
  ])('refuses "%s"', async (flags, reason) => {
    const line = ['adm', 'log-verbosity', ...flags.split(' ').filter(Boolean)];
    expect((await virtctl(line, { answers })).err).toContain(reason);
  });
});

describe('evacuate-cancel', () => {
  it('asks for one VM, or for every instance that leaves a node', async () => {
    expect((await virtctl('evacuate-cancel vm web')).requests).toEqual([`PUT ${sub}/virtualmachines/web/evacuate/cancel {}`]);
    const instances = [
      { metadata: { name: 'a', namespace: 'default' }, status: { evacuationNodeName: 'n1' } },
      { metadata: { name: 'b', namespace: 'default' }, status: {} },
    ];
    const answers = { 'GET /apis/kubevirt.io/v1/namespaces//virtualmachineinstances': () => instances };
    const { requests } = await virtctl('evacuate-cancel node n1 --dry-run', { answers });
    expect(requests[1]).toBe(`PUT ${sub}/virtualmachineinstances/a/evacuate/cancel {"dryRun":["All"]}`);
    expect(requests).toHaveLength(2);
  });
});

describe('memory-dump', () => {
  it('makes a claim that is large enough', async () => {
    const answers = {
      [`GET ${kubevirtPath}/virtualmachineinstances/web`]: () => ({
        metadata: {},
        spec: { domain: { memory: { guest: '1Gi' } } },
      }),
      'GET /apis//v1/namespaces/default/persistentvolumeclaims/dump': missing,
      'GET /apis/cdi.kubevirt.io/v1/namespaces//cdiconfigs/config': () => ({
        status: { filesystemOverhead: { global: '0.055', storageClass: { fast: '0' } } },
      }),
    };
    const line = 'memory-dump get web --claim-name=dump --create-claim';
    const { out, requests } = await virtctl(line, { answers });
    expect(out).toBe('PVC default/dump created\nSuccessfully submitted memory dump request of VM web\n');
    // 1124 MiB and 5.5 % of it
    expect(requests.at(-2)).toContain('"storage":"1186Mi"');
    expect(requests.at(-1)).toBe(`PUT ${sub}/virtualmachines/web/memorydump {"claimName":"dump","phase":""}`);
    const fast = await virtctl(`${line} --storage-class=fast`, { answers });
    expect(fast.requests.at(-2)).toContain('"storage":"1124Mi"');
  });

  it('says why there is nothing to download', async () => {
    expect((await virtctl('memory-dump download web --output=x')).err).toContain('VM web has no memory dump');
    const failed = {
      metadata: {},
      spec: {},
      status: { memoryDumpRequest: { claimName: 'c', phase: 'Failed', message: 'no space' } },
    };
    const answers = { [`GET ${kubevirtPath}/virtualmachines/web`]: () => failed };
    expect((await virtctl('memory-dump download web --output=x', { answers })).err).toContain('no space');
  });
});

describe('credentials', () => {
  const vmPath = `GET ${kubevirtPath}/virtualmachines/web`;
  const running = `GET ${kubevirtPath}/virtualmachineinstances/web`;
  const agent = { qemuGuestAgent: { users: ['root'] } };
  const vm = (accessCredentials?: object[]) => ({
    metadata: { name: 'web', uid: 'u1' },
    spec: { template: { spec: { accessCredentials } } },
  });
  const key = { sshPublicKey: { source: { secret: { secretName: 'keys' } }, propagationMethod: agent } };
  const password = { userPassword: { source: { secret: { secretName: 'pw' } }, propagationMethod: { qemuGuestAgent: {} } } };
  const secretPath = '/apis//v1/namespaces/default/secrets';
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'credentials-'));
    await writeFile(`${dir}/key.pub`, 'ssh-ed25519 AAAA\n');
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  it('adds a key to the secret that the VM has for the user', async () => {
    const line = `credentials add-ssh-key web --user=root --file=${dir}/key.pub`;
    const { out, requests } = await virtctl(line, { answers: { [vmPath]: () => vm([key]) } });
    expect(out).toBe('Successfully added SSH key to secret "keys"\n');
    const value = Buffer.from('ssh-ed25519 AAAA').toString('base64');
    expect(requests.at(-1)).toBe(`PATCH ${secretPath}/keys [{"op":"add","path":"/data/ssh-key-xxxxxx","value":"${value}"}]`);
  });

  it('makes a secret for a VM that has none, but not behind the back of a running one', async () => {
    const line = ['credentials', 'add-ssh-key', 'web', '-u', 'root', '--value', 'ssh-ed25519 AAAA'];
    const stopped = await virtctl(line, { answers: { [vmPath]: () => vm(), [running]: missing } });
    expect(stopped.requests.slice(-2)).toEqual([
      'POST secrets undefined',
      `PATCH ${kubevirtPath}/virtualmachines/web ${JSON.stringify([
        {
          op: 'add',
          path: '/spec/template/spec/accessCredentials',
          value: [{ sshPublicKey: { source: { secret: { secretName: 'web-credentials-xxxxxx' } }, propagationMethod: agent } }],
        },
      ])}`,
    ]);
    const refused = await virtctl(line, { answers: { [vmPath]: () => vm() } });
    expect(refused).toMatchObject({
      status: 1,
      err: 'virtual machine web is running. Use --force flag to update a running VM, it will take effect after restart\n',
    });
  });

  it('sets a password', async () => {
    const { out, requests } = await virtctl('credentials set-password web --user=root --password=pw1', {
      answers: { [vmPath]: () => vm([password]) },
    });
    expect(out).toBe('Successfully set password in secret "pw"');
    expect(requests.at(-1)).toBe(`PATCH ${secretPath}/pw [{"op":"add","path":"/data/root","value":"cHcx"}]`);
  });

  it('removes a key, from secrets of the VM alone', async () => {
    const line = `credentials remove-ssh-key web --user=root --file=${dir}/key.pub`;
    const value = Buffer.from('ssh-ed25519 AAAA').toString('base64');
    const secret = (uid: string) => ({
      metadata: { name: 'keys', ownerReferences: [{ uid }] },
      data: { mine: value, other: 'eA==' },
    });
    const answers = (uid: string) => ({ [vmPath]: () => vm([key]), [`GET ${secretPath}/keys`]: () => secret(uid) });
    const { requests } = await virtctl(line, { answers: answers('u1') });
    expect(requests.at(-1)).toBe(
      `PATCH ${secretPath}/keys [{"op":"test","path":"/data/mine","value":"${value}"},{"op":"remove","path":"/data/mine"}]`,
    );
    expect((await virtctl(line, { answers: answers('u2') })).err).toContain('does not belong to VM web');
    expect((await virtctl(line, { answers: { [vmPath]: () => vm() } })).out).toBe('No secrets associated with user root');
  });
});
