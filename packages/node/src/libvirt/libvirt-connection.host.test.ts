import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DomainEvent, DOMAIN_STATE, ERROR_CODE, LibvirtConnection, LIFECYCLE } from './index.ts';

/** No account has this uid: sandboxes have none either. */
const UID = 1_000_900_001;

describe('LibvirtConnection with a real unprivileged daemon and its test driver', () => {
  const dir = mkdtempSync('/tmp/sw-lv-');
  const socketPath = join(dir, 'run/libvirt/libvirt-sock');
  let daemon: ChildProcess;
  /** Made at the start: the last test kills the daemon, so that its end may be over before anyone asks. */
  let ended: Promise<unknown>;
  let connection: LibvirtConnection;
  const events: DomainEvent[] = [];

  beforeAll(async () => {
    chownSync(dir, UID, UID);
    for (const name of ['run', 'config', 'cache', 'data']) {
      mkdirSync(join(dir, name));
      chownSync(join(dir, name), UID, UID);
    }
    daemon = spawn('setpriv', [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '/usr/sbin/libvirtd'], {
      stdio: 'ignore',
      env: {
        PATH: '/usr/sbin:/usr/bin',
        HOME: dir,
        XDG_RUNTIME_DIR: join(dir, 'run'),
        XDG_CONFIG_HOME: join(dir, 'config'),
        XDG_CACHE_HOME: join(dir, 'cache'),
        XDG_DATA_HOME: join(dir, 'data'),
      },
    });
    ended = once(daemon, 'exit');
    while (!existsSync(socketPath)) await sleep(10);
    connection = await LibvirtConnection.open({ socketPath, uri: 'test:///default', onEvent: (event) => events.push(event) });
  });

  afterAll(async () => {
    connection?.close();
    daemon.kill('SIGKILL');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  });

  it('lists, suspends, resumes, destroys and starts, and hears of it', async () => {
    const [domain] = await connection.listDomains();
    if (domain === undefined) throw new Error('The test driver has a domain');
    expect(domain.name).toBe('test');
    await connection.suspend(domain);
    expect((await connection.state(domain)).state).toBe(DOMAIN_STATE.paused);
    await connection.resume(domain);
    await connection.destroy(domain);
    const started = await connection.create(domain);
    expect((await connection.state(started)).state).toBe(DOMAIN_STATE.running);
    await expect
      .poll(() => events.flatMap((event) => (event.type === 'lifecycle' ? [event.event] : [])))
      .toEqual([LIFECYCLE.suspended, LIFECYCLE.resumed, LIFECYCLE.stopped, LIFECYCLE.started]);
  });

  it('collects a stream', async () => {
    const { mime, image } = await connection.screenshot(await connection.lookup('test'));
    expect(mime).toBe('image/png');
    expect(image.subarray(1, 4).toString()).toBe('PNG');
  });

  it('asks for the limit of agents by the right number', async () => {
    // the test driver has no agents, and says so by the name of the function
    const refused = connection.limitAgentResponse(await connection.lookup('test'), 50);
    await expect(refused).rejects.toThrow(/virDomainAgentSetResponseTimeout/);
  });

  it('tells a missing domain by its code', async () => {
    await expect(connection.lookup('nobody')).rejects.toMatchObject({ name: 'LibvirtError', code: ERROR_CODE.noDomain });
  });

  it('fails what is under way, and later calls, when the daemon dies', async () => {
    const other = await LibvirtConnection.open({ socketPath, uri: 'test:///default' });
    daemon.kill('SIGKILL');
    await other.closed;
    await expect(other.listDomains()).rejects.toThrow(/closed|reset/i);
  });
});
