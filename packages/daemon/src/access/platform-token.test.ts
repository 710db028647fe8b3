import { expect, it } from 'vitest';
import { checkToken, issueToken } from './platform-token.ts';

const key = Buffer.alloc(32, 1).toString('base64');
const claims = { user: 'ann', groups: ['dev'], expires: 2_000 };

it('lets in who it names, until it expires', () => {
  const token = issueToken(claims, key);
  expect(checkToken(token, key, 1_000_000)).toEqual({ username: 'ann', uid: 'ann', groups: ['dev'] });
  expect(() => checkToken(token, key, 2_000_001)).toThrow(/expired/);
});

it('refuses other keys and changed claims, and leaves other tokens alone', () => {
  const token = issueToken(claims, key);
  expect(() => checkToken(token, Buffer.alloc(32, 2).toString('base64'), 0)).toThrow(/not signed/);
  const [prefix, , signature] = token.split('.');
  const forged = Buffer.from(JSON.stringify({ ...claims, groups: ['system:masters'] })).toString('base64url');
  expect(() => checkToken(`${prefix}.${forged}.${signature}`, key, 0)).toThrow(/not signed/);
  expect(checkToken('eyJh.b.c', key, 0)).toBeUndefined();
});
