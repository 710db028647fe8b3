import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openConsoleLog, readConsoleLog, readTimedLog, removeConsoleLog } from './console-log.ts';
import { frameOf, openForward, parseForward, splitFrames } from './port-forward.ts';
import { VncSessions } from './vnc-sessions.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/tmp/sw-con-');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('the console log', () => {
  it('keeps the last output and never more than twice its limit, however much a guest writes', () => {
    const file = join(dir, 'log');
    const log = openConsoleLog(file, { limitBytes: 1000 });
    for (let line = 0; line < 1000; line++) log.append(Buffer.from(`line ${line}\n`));
    log.append(Buffer.alloc(5000, 'x'));
    log.append(Buffer.from('the end\n'));
    log.close();
    expect(statSync(file).size + statSync(`${file}.1`).size).toBeLessThanOrEqual(2000);
    expect(readConsoleLog(file).toString()).toMatch(/x+the end\n$/);
    expect(readConsoleLog(file, 8).toString()).toBe('the end\n');
    expect(readConsoleLog(join(dir, 'none'))).toHaveLength(0);
  });

  it('goes on in the same file after a restart', () => {
    const file = join(dir, 'log');
    for (const text of ['one\n', 'two\n']) {
      const log = openConsoleLog(file);
      log.append(Buffer.from(text));
      log.close();
    }
    expect(readConsoleLog(file).toString()).toBe('one\ntwo\n');
  });
});

describe('times of a console log', () => {
  it('belong to the lines that began then, across restarts and full files', () => {
    const file = join(dir, 'log');
    let nowMs = 1000;
    const open = () => openConsoleLog(file, { limitBytes: 40, now: () => nowMs });
    const first = open();
    first.append(Buffer.from('boot\nker'));
    nowMs = 2000;
    first.append(Buffer.from('nel\nlogin: '));
    first.close();
    nowMs = 3000;
    const second = open();
    second.append(Buffer.from('demo\nhello\n'));
    nowMs = 4000;
    second.append(Buffer.from('a new file, because the first is full\n'));
    second.close();
    const { text, marks } = readTimedLog(file);
    const lineAt = (offset: number) => text.toString().slice(offset).split('\n')[0];
    expect(marks.map(({ offset, timeMs }) => [timeMs, lineAt(offset)])).toEqual([
      [1000, 'boot'],
      [2000, 'login: demo'],
      [3000, 'hello'],
      [4000, 'a new file, because the first is full'],
    ]);
    removeConsoleLog(file);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('VNC sessions', () => {
  it('displaces the running session, or refuses when it shall be preserved', async () => {
    const server = createServer().listen(join(dir, 'vnc'));
    await once(server, 'listening');
    const sessions = new VncSessions(join(dir, 'vnc'));
    const first = await sessions.open();
    await expect(sessions.open({ preserveSession: true })).rejects.toMatchObject({ code: 409 });
    const second = await sessions.open();
    expect(first.destroyed).toBe(true);
    second.destroy();
    server.close();
    await expect(new VncSessions(join(dir, 'nobody')).open()).rejects.toMatchObject({ code: 503 });
  });
});

describe('port-forward', () => {
  it('reaches a port of the guest and says when nobody listens', async () => {
    const server = createServer((socket: Socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const stream = await openForward({ address: '127.0.0.1', port, protocol: 'tcp' });
    stream.end('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    server.close();
    stream.destroy();
    await expect(openForward({ address: '127.0.0.1', port: 1, protocol: 'tcp' })).rejects.toThrow(/port 1 of the guest/);
  });

  it('refuses what is no port', () => {
    expect(() => parseForward({ port: '70000' })).toThrow(/70000/);
    expect(() => parseForward({ port: 22, protocol: 'sctp' })).toThrow(/sctp/);
    expect(parseForward({ port: '22' })).toEqual({ port: 22, protocol: 'tcp' });
  });

  it('splits datagrams however they arrive', () => {
    const bytes = Buffer.concat([frameOf(Buffer.from('one')), frameOf(Buffer.from('two')), Buffer.from([0])]);
    const { datagrams, rest } = splitFrames(bytes);
    expect(datagrams.map(String)).toEqual(['one', 'two']);
    expect(rest).toEqual(Buffer.from([0]));
  });
});
