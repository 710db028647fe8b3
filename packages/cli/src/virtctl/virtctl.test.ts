import { PassThrough } from 'node:stream';
import { connect as connectTcp } from 'node:net';
import { once } from 'node:events';
import { StatusError } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import { describe, expect, it } from 'vitest';
import { parsePort } from './port-forward.ts';
import { parseTarget } from './target.ts';
import { virtctl } from './testing.ts';

const sub = '/apis/subresources.kubevirt.io/v1/namespaces';

describe('life cycle commands', () => {
  it.each([
    ['start web', `PUT ${sub}/default/virtualmachines/web/start {}`, 'VM web was scheduled to start\n'],
    ['start web --paused', `PUT ${sub}/default/virtualmachines/web/start {"paused":true}`, 'VM web was scheduled to start\n'],
    ['start --paused=false web', `PUT ${sub}/default/virtualmachines/web/start {}`, 'VM web was scheduled to start\n'],
    ['-n shop start web', `PUT ${sub}/shop/virtualmachines/web/start {}`, 'VM web was scheduled to start\n'],
    ['start web -n=shop', `PUT ${sub}/shop/virtualmachines/web/start {}`, 'VM web was scheduled to start\n'],
    [
      'start web --dry-run',
      `PUT ${sub}/default/virtualmachines/web/start {"dryRun":["All"]}`,
      'Dry Run execution\nVM web was scheduled to start\n',
    ],
    [
      'stop web --force --grace-period=0',
      `PUT ${sub}/default/virtualmachines/web/stop {"gracePeriod":0}`,
      'VM web was scheduled to stop\n',
    ],
    [
      'restart web --force=true --grace-period 0',
      `PUT ${sub}/default/virtualmachines/web/restart {"gracePeriodSeconds":0}`,
      'VM web was scheduled to restart\n',
    ],
    [
      'migrate web --addedNodeSelector zone=b',
      `PUT ${sub}/default/virtualmachines/web/migrate {"addedNodeSelector":{"zone":"b"}}`,
      'VM web was scheduled to migrate\n',
    ],
    ['pause vmi web', `PUT ${sub}/default/virtualmachineinstances/web/pause {}`, 'VMI web was scheduled to pause\n'],
    [
      'unpause virtualmachineinstances web',
      `PUT ${sub}/default/virtualmachineinstances/web/unpause {}`,
      'VMI web was scheduled to unpause\n',
    ],
    ['soft-reboot web', `PUT ${sub}/default/virtualmachineinstances/web/softreboot {}`, 'VMI web was scheduled to soft reboot\n'],
  ])('%s', async (line, request, out) => {
    expect(await virtctl(line)).toMatchObject({ status: 0, out, err: '', requests: [request] });
  });

  it('resolves a VM before it pauses the instance of the same name', async () => {
    expect((await virtctl('pause vm web')).requests).toEqual([
      'GET /apis/kubevirt.io/v1/namespaces/default/virtualmachines/web',
      `PUT ${sub}/default/virtualmachineinstances/web/pause {}`,
    ]);
  });

  it.each([
    ['stop web --force', 'Must both use --force=true and set --grace-period.\n'],
    ['stop web --grace-period=5', 'Must both use --force=true and set --grace-period.\n'],
    ['pause pod web', "unsupported resource type 'pod'\n"],
    ['migrate-cancel web', 'Found no migration to cancel for web\n'],
    [
      'start web --paused=maybe',
      'invalid argument "maybe" for "--paused" flag: strconv.ParseBool: parsing "maybe": invalid syntax\n',
    ],
  ])('%s fails with a reason', async (line, err) => {
    expect(await virtctl(line)).toMatchObject({ status: 1, err });
  });

  it('says what the server refused', async () => {
    const refuse = (): never => {
      throw new StatusError({ code: 409, reason: 'Conflict', message: 'VM is already running' });
    };
    const result = await virtctl('start web', { answers: { [`PUT ${sub}/default/virtualmachines/web/start`]: refuse } });
    expect(result).toMatchObject({ status: 1, out: '', err: 'Error starting VirtualMachine: VM is already running\n' });
  });

  it('cancels the migration that is under way', async () => {
    const migrations = [
      { metadata: { name: 'old' }, status: { phase: 'Succeeded' } },
      { metadata: { name: 'now' }, status: { phase: 'Running' } },
    ];
    const path = '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations';
    const { requests, status } = await virtctl('migrate-cancel web', { answers: { [`GET ${path}`]: () => migrations } });
    expect({ requests, status }).toEqual({
      status: 0,
      requests: [`GET ${path}?kubevirt.io/vmi-name==web`, `DELETE ${path}/now`],
    });
  });
});

describe('questions', () => {
  it('prints what the guest agent says', async () => {
    const answers = { [`GET ${sub}/default/virtualmachineinstances/web/filesystemlist`]: () => ({ metadata: {}, items: [] }) };
    expect((await virtctl('fslist web', { answers })).out).toBe('{\n  "metadata": {},\n  "items": []\n}\n');
  });

  it('tells its own version without a server', async () => {
    expect((await virtctl('version --client')).out).toMatch(
      /^Client Version: version.Info\{GitVersion:"v1.2.3", GitCommit:"abc", /,
    );
  });

  it('expands a VM as YAML with sorted keys', async () => {
    const answers = {
      [`GET ${sub}/default/virtualmachines/web/expand-spec`]: () => ({ kind: 'VirtualMachine', apiVersion: 'kubevirt.io/v1' }),
    };
    expect((await virtctl('expand --vm web', { answers })).out).toBe('apiVersion: kubevirt.io/v1\nkind: VirtualMachine\n');
    expect((await virtctl('expand')).status).toBe(1);
  });
});

function stream(parts: { greeting?: string; received?: string[] }): MessageStream {
  const incoming = new PassThrough();
  if (parts.greeting !== undefined) incoming.write(parts.greeting);
  return {
    protocol: 'plain.kubevirt.io',
    send: async (data) => void parts.received?.push(Buffer.from(data).toString()),
    messages: incoming,
    close: () => void incoming.end(),
  };
}

describe('expose', () => {
  const path = 'GET /apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/web';

  it('makes a service for the port that was asked for', async () => {
    const line =
      'expose vmi web --name=front --port=80 --target-port=8080 --port-name=http --type=NodePort --ip-family=ipv6,ipv4';
    const { out, requests } = await virtctl(line);
    expect(out).toBe('Service front successfully exposed for vmi web\n');
    const ports = [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 8080 }];
    const spec = {
      ports,
      selector: { 'vmi.kubevirt.io/id': 'web' },
      type: 'NodePort',
      ipFamilies: ['IPv6', 'IPv4'],
      ipFamilyPolicy: 'PreferDualStack',
    };
    expect(requests).toEqual([path, `POST services ${JSON.stringify(spec)}`]);
  });

  it('takes the ports of the interface on the pod network, or says that there are none', async () => {
    const interfaces = [{ name: 'default', ports: [{ port: 22 }, { name: 'dns', port: 53, protocol: 'UDP' }] }];
    const spec = { networks: [{ name: 'default', pod: {} }], domain: { devices: { interfaces } } };
    const answers = { [path]: () => ({ metadata: { name: 'web' }, spec }) };
    const { requests } = await virtctl('expose vmi web --name=front', { answers });
    expect(requests[1]).toContain('[{"name":"port-1","protocol":"TCP","port":22},{"name":"dns","protocol":"UDP","port":53}]');
    const none = await virtctl('expose vmi web --name=front', { answers: { [path]: () => ({ metadata: {}, spec: {} }) } });
    expect(none).toMatchObject({ status: 1, err: "couldn't find port via --port flag or introspection\n" });
  });
});

describe('streams', () => {
  it('joins the console with the terminal and ends with the input', async () => {
    const received: string[] = [];
    const result = await virtctl('console web', { stdin: 'root\n', streams: () => stream({ greeting: 'login: ', received }) });
    expect(result.out).toBe('Successfully connected to web console. The escape sequence is ^]\nlogin: ');
    expect(received).toEqual(['root\n']);
    expect(result.requests[0]).toBe(`CONNECT ${sub}/default/virtualmachineinstances/web/console {}`);
  });

  it('does not send the escape sequence', async () => {
    const received: string[] = [];
    await virtctl('console web', { stdin: '\u001d', streams: () => stream({ received }) });
    expect(received).toEqual([]);
  });

  it('waits for a guest that is still starting', async () => {
    let attempts = 0;
    const streams = (): MessageStream => {
      if (++attempts < 3)
        throw new StatusError({
          code: 400,
          message: 'Unable to connect to VirtualMachineInstance because phase is Scheduling instead of Running',
        });
      return stream({});
    };
    expect((await virtctl('console web', { streams })).status).toBe(0);
    expect(attempts).toBe(3);
    expect((await virtctl('console web --timeout 0', { streams: () => streams() })).status).toBe(0);
  });

  it('connects stdin and stdout to a port', async () => {
    const result = await virtctl('port-forward --stdio vm/web/shop 22', { streams: () => stream({ greeting: 'SSH-2.0' }) });
    expect(result).toMatchObject({
      status: 0,
      out: 'SSH-2.0',
      requests: [`CONNECT ${sub}/shop/virtualmachines/web/portforward/22/tcp`],
    });
  });

  it.each(['end', 'resetAndDestroy'] as const)('serves one VNC client on a local port until it is gone: %s', async (leave) => {
    let listens: (port: number) => void = () => {};
    const port = new Promise<number>((resolve) => (listens = resolve));
    const command = virtctl('vnc web --proxy-only', {
      streams: () => stream({ greeting: 'RFB 003.008\n' }),
      onOutput: (text) => listens(Number(/\d+/.exec(text)?.[0])),
    });
    const socket = connectTcp(await port, '127.0.0.1');
    const [banner]: Buffer[] = await once(socket, 'data');
    socket[leave]();
    expect(banner?.toString()).toBe('RFB 003.008\n');
    expect((await command).status).toBe(0);
  });
});

describe('ssh and scp', () => {
  it('run the local programs with this one as their way in', async () => {
    const { programs } = await virtctl(['ssh', 'cloud-user@vm/web/shop', '-i', '/key', '-c', 'uname -a']);
    expect(programs).toEqual([
      [
        'ssh',
        '-o',
        'ProxyCommand=virtctl port-forward --stdio=true vm/web/shop 22',
        '-o',
        'UserKnownHostsFile=/home/jane/.ssh/kubevirt_known_hosts',
        '-i',
        '/key',
        '-p',
        '22',
        'cloud-user@vm.web.shop',
        'uname -a',
      ],
    ]); // prettier-ignore
    const copy = await virtctl(['scp', 'file', 'vmi/web:/tmp/x', '-r', '-n', 'shop']);
    expect(copy.programs[0]?.slice(-3)).toEqual(['-r', 'file', 'jane@vmi.web.shop:/tmp/x']);
  });

  it('report how the program ended', async () => {
    expect(await virtctl('ssh web', { programStatus: 255 })).toMatchObject({ status: 1, err: 'exit status 255\n' });
    expect((await virtctl('scp a b')).err).toContain('none of the two provided locations seems to be a remote location');
  });
});

describe('targets and ports', () => {
  it.each([
    ['web', { kind: 'vmi', name: 'web', namespace: undefined }],
    ['vm/web', { kind: 'vm', name: 'web', namespace: undefined }],
    ['vmis/web/shop', { kind: 'vmi', name: 'web', namespace: 'shop' }],
    ['vmi/web.shop', { kind: 'vmi', name: 'web', namespace: 'shop' }],
  ])('%s', (text, target) => {
    expect(parseTarget(text)).toEqual(target);
  });
  it.each(['pod/web', 'vm/', 'a/b/c/d', ''])('refuses the target "%s"', (text) => {
    expect(() => parseTarget(text)).toThrow(/cannot be empty|is not valid|unsupported resource type/);
  });

  it.each([
    ['22', { protocol: 'tcp', local: 22, remote: 22 }],
    ['udp/5353:53', { protocol: 'udp', local: 5353, remote: 53 }],
    ['0:80', { protocol: 'tcp', local: 0, remote: 80 }],
  ])('port %s', (text, port) => {
    expect(parsePort(text)).toEqual(port);
  });
  it.each(['x', '70000', 'sctp/1', '1:0', '1:2:3'])('refuses the port "%s"', (text) => {
    expect(() => parsePort(text)).toThrow(/invalid port|unknown protocol/);
  });
});
