import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigMapKind, PodKind, SecretKind } from '@slipway/api';
import { type ApiServer, builtinResources, changesAt, createApiServer } from '@slipway/apiserver';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createAuditLog } from './audit-log.ts';

let directory: string;
let server: ApiServer;
const rotation = { maxBytes: 20_000, backups: 3 };

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'audit-log-'));
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    auditPolicy: changesAt('Request'),
    audit: createAuditLog(join(directory, 'audit.log'), rotation),
  });
});
afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

interface Line {
  readonly auditId: string;
  readonly verb: string;
  readonly path: string;
  readonly code: number;
  readonly latencyMs: number;
  readonly user: string;
  readonly level: string;
  readonly requestObject?: unknown;
}

/** Oldest first. */
const files = (): string[] =>
  readdirSync(directory)
    .sort((a, b) => Number(b.split('.')[2] ?? 0) - Number(a.split('.')[2] ?? 0))
    .map((name) => join(directory, name));
const linesOf = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line); // each line is one event

it('says who did what with which verdict, how long it took, and what was sent, but never a secret', async () => {
  const client = server.client({ username: 'ann', groups: ['system:masters'] });
  const metadata = (name: string) => ({ name, namespace: 'default' });
  await client.create(SecretKind, { apiVersion: 'v1', kind: 'Secret', metadata: metadata('s'), stringData: { a: 'hidden' } });
  await client.create(ConfigMapKind, { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata('m'), data: { a: 'hidden' } });
  const spec = { containers: [{ name: 'shown', image: 'i' }] };
  await client.create(PodKind, { apiVersion: 'v1', kind: 'Pod', metadata: metadata('p'), spec });
  await client.list(PodKind);
  const nobody = server.client({ username: 'bob', groups: [] });
  await expect(nobody.list(SecretKind)).rejects.toMatchObject({ code: 403 });
  const lines = files().flatMap(linesOf);
  expect(lines.map(({ user, verb, path, code }) => `${user} ${verb} ${path} ${code}`)).toEqual([
    'ann create /api/v1/namespaces/default/secrets 201',
    'ann create /api/v1/namespaces/default/configmaps 201',
    'ann create /api/v1/namespaces/default/pods 201',
    'bob list /api/v1/secrets 403',
  ]);
  expect(lines[2]).toMatchObject({ level: 'Request', requestObject: { spec: { containers: [{ name: 'shown' }] } } });
  expect(lines.every(({ latencyMs }) => latencyMs >= 0)).toBe(true);
  expect(
    files()
      .map((file) => readFileSync(file, 'utf8'))
      .join(),
  ).not.toContain('hidden');
});

it('loses and tears no line while files are exchanged under load, and keeps as many as it should', async () => {
  const client = server.client({ username: 'ann', groups: ['system:masters'] });
  const names = Array.from({ length: 300 }, (_, index) => `map-${index}`);
  await Promise.all(
    names.map((name) =>
      client.create(ConfigMapKind, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } }),
    ),
  );
  expect(readdirSync(directory).sort()).toEqual(['audit.log', 'audit.log.1', 'audit.log.2', 'audit.log.3']);
  for (const file of files()) expect(statSync(file).size).toBeLessThan(rotation.maxBytes + 1000);
  const kept = files().flatMap(linesOf);
  expect(new Set(kept.map(({ auditId }) => auditId)).size).toBe(kept.length);
  // what is kept are the newest ones, without a hole: each create was answered once
  expect(kept.length).toBeGreaterThan(100);
  expect(kept.every(({ code, verb }) => code === 201 && verb === 'create')).toBe(true);
});
