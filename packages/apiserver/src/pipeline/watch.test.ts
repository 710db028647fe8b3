import { memoryStoreFs, openStore } from '@slipway/store';
import { describe, expect, it } from 'vitest';
import { createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';
import type { ApiRequest, WatchFrame } from './request.ts';

const request = (method: string, path: string, value?: object, query = ''): ApiRequest => ({
  method,
  path,
  query: new URLSearchParams(query),
  headers: {},
  body: value === undefined ? { type: 'none' } : { type: 'value', value },
  identity: { type: 'user', user: { username: 'admin', groups: ['system:masters'] } },
  remoteAddress: 'in-process',
  signal: new AbortController().signal,
});

const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';
const configMap = (name: string): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
const nameOf = (n: number): string => `c${String(n).padStart(5, '0')}`;
const shown = ({ type, object }: WatchFrame): string => `${type} ${(object as { metadata: { name: string } }).metadata.name}`;

describe('a watch that begins with what is there', () => {
  it('shows thousands of objects in slices, and what happens meanwhile after them', async () => {
    const server = await createApiServer({
      store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
      definitions: builtinResources(),
    });
    const count = 1100;
    await Promise.all(Array.from({ length: count }, (_, n) => server.handle(request('POST', CONFIG_MAPS, configMap(nameOf(n))))));
    const { watch } = await server.handle(request('GET', CONFIG_MAPS, undefined, 'watch=true'));
    const frames: WatchFrame[] = [];
    const stop = await new Promise<() => void>((resolve) => {
      const end = watch?.start(
        (frame) => {
          frames.push(frame);
          if (shown(frame) === 'ADDED late') resolve(end ?? (() => undefined));
        },
        () => undefined,
      );
      // a part is out at once; the rest waits for later turns
      expect(frames.length).toBeGreaterThan(0);
      expect(frames.length).toBeLessThan(count);
      void server
        .handle(request('DELETE', `${CONFIG_MAPS}/${nameOf(count - 1)}`))
        .then(() => server.handle(request('POST', CONFIG_MAPS, configMap('late'))));
    });
    stop();
    expect(frames.map(shown)).toEqual([
      ...Array.from({ length: count }, (_, n) => `ADDED ${nameOf(n)}`),
      `DELETED ${nameOf(count - 1)}`,
      'ADDED late',
    ]);
    await server.close();
  });
});
