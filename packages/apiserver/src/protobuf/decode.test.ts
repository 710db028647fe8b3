import { describe, expect, it } from 'vitest';
import { decodeProtobuf } from './decode.ts';

const field = (number: number, bytes: Uint8Array | string): Buffer => {
  const data = Buffer.from(bytes as string);
  return Buffer.concat([Buffer.from([(number << 3) | 2, data.length]), data]);
};
const envelope = (kind: string, raw: Buffer, apiVersion = 'v1'): Buffer =>
  Buffer.concat([
    Buffer.from([0x6b, 0x38, 0x73, 0]),
    field(1, Buffer.concat([field(1, apiVersion), field(2, kind)])),
    field(2, raw),
  ]);

describe('decodeProtobuf', () => {
  it('reads a ConfigMap', () => {
    const entry = Buffer.concat([field(1, 'a'), field(2, 'b')]);
    const raw = Buffer.concat([field(1, field(1, 'cm')), field(2, entry)]);
    expect(decodeProtobuf(envelope('ConfigMap', raw))).toEqual({
      kind: 'ConfigMap',
      apiVersion: 'v1',
      metadata: { name: 'cm' },
      data: { a: 'b' },
    });
  });

  it('leaves out what JSON would leave out, and lifts embedded messages', () => {
    const number = (field: number, value: number): Buffer => Buffer.from([field << 3, value]);
    const port = Buffer.concat([field(1, 'web'), number(3, 80), number(5, 0)]);
    const service = field(2, Buffer.concat([field(1, port), field(8, '')]));
    expect(decodeProtobuf(envelope('Service', service))).toMatchObject({ spec: { ports: [{ name: 'web', port: 80 }] } });
    expect(JSON.stringify(decodeProtobuf(envelope('Service', service)))).not.toMatch(/nodePort|loadBalancerIP/);
    const http = field(1, field(1, field(1, '/a')));
    const ingress = field(2, field(3, Buffer.concat([field(1, 'host'), field(2, http)])));
    expect(decodeProtobuf(envelope('Ingress', ingress, 'networking.k8s.io/v1'))).toMatchObject({
      spec: { rules: [{ host: 'host', http: { paths: [{ path: '/a' }] } }] },
    });
  });

  it('drops fields of later releases', () => {
    expect(decodeProtobuf(envelope('ConfigMap', field(15, 'x')))).toEqual({ kind: 'ConfigMap', apiVersion: 'v1' });
  });

  it.each([
    ['no envelope', Buffer.from('{}')],
    ['an unknown kind', envelope('Mystery', Buffer.alloc(0))],
    ['a field past the end', envelope('ConfigMap', Buffer.from([0x0a, 0x7f]))],
    ['an endless number', envelope('ConfigMap', Buffer.alloc(12, 0xff))],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decodeProtobuf(bytes)).toThrow(expect.objectContaining({ code: 400 }) as Error);
  });
});
