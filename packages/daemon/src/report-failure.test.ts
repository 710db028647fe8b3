import { describe, expect, it } from 'vitest';
import { remedyOf } from './report-failure.ts';

describe('remedyOf', () => {
  const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
  const unsent = Object.assign(new Error('kill EPERM'), { code: 'EPERM' });

  it.each([
    [denied, 1000, 'run it with sudo'],
    [new Error('Cannot load kubeconfig', { cause: denied }), 1000, 'run it with sudo'],
    [unsent, 1000, 'run it with sudo'],
    [denied, 0, undefined],
    [
      new Error('Cannot reach the API server', { cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) }),
      0,
      '`slipway status` says what runs, `slipway up` starts it',
    ],
    [new Error('else'), 1000, undefined],
    ['text', 1000, undefined],
  ])('of %s for user %s', (error, uid, remedy) => {
    expect(remedyOf(error, uid)).toBe(remedy);
  });
});
