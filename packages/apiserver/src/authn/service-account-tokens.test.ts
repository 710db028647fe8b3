import { describe, expect, it } from 'vitest';
import { generateServiceAccountKey } from '../api-server.ts';
import { serviceAccountTokens } from './service-account-tokens.ts';

describe('serviceAccountTokens', () => {
  it('asks for its key when one is needed, once for all, and again when it was not there', async () => {
    let asked = 0;
    const tokens = serviceAccountTokens({
      async privateKey() {
        asked += 1;
        if (asked === 1) throw new Error('no key yet');
        return generateServiceAccountKey();
      },
      nowMs: () => 0,
      uid: () => 'uid',
      lookup: () => undefined,
    });
    expect(asked).toBe(0);
    await expect(tokens.jwks()).rejects.toThrow('no key yet');

    const [early, late] = await Promise.all([tokens.jwks(), tokens.jwks(), tokens.prepare()]);

    expect(early).toEqual(late);
    expect(await tokens.jwks()).toEqual(early);
    expect(asked).toBe(2);
  });
});
