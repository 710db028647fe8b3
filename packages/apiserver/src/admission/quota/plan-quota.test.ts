import type { AdmissionRequest } from '@slipway/runtime';
import { describe, expect, it } from 'vitest';
import { chargeOf, judgeQuota } from './plan-quota.ts';

const request = (requests: Record<string, string> | undefined): AdmissionRequest => ({
  operation: 'CREATE',
  group: '',
  version: 'v1',
  kind: 'Pod',
  resource: 'pods',
  subresource: '',
  namespace: 'n',
  name: 'p',
  user: { username: 'u', groups: [] },
  dryRun: false,
  object: {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'c', resources: { requests } }] },
  },
});
const quota = (hard: Record<string, string>, used: Record<string, string>) => ({
  apiVersion: 'v1' as const,
  kind: 'ResourceQuota' as const,
  metadata: { name: 'q' },
  spec: { hard },
  status: { hard, used },
});
const judge = (hard: Record<string, string>, used: Record<string, string>, requests?: Record<string, string>) =>
  judgeQuota(quota(hard, used), request(requests), chargeOf(request(requests)));

describe('judgeQuota', () => {
  it('charges what fits', () => {
    expect(judge({ pods: '2' }, { pods: '1' })).toEqual({ type: 'charged', used: { pods: '2' } });
  });
  it('refuses what does not, naming it', () => {
    expect(judge({ 'requests.cpu': '1' }, { 'requests.cpu': '800m' }, { cpu: '300m' })).toEqual({
      type: 'refused',
      why: 'exceeded quota: q, requested: requests.cpu=300m, used: requests.cpu=800m, limited: requests.cpu=1',
    });
  });
  it('wants limited resources to be stated', () => {
    expect(judge({ 'requests.cpu': '1' }, { 'requests.cpu': '0' })).toMatchObject({
      why: 'failed quota: q: must specify requests.cpu for: c',
    });
  });
  it('does not guess before usage is known', () => {
    const verdict = judgeQuota({ ...quota({ pods: '1' }, {}), status: {} }, request({}), chargeOf(request({})));
    expect(verdict).toMatchObject({ why: 'status unknown for quota: q, resources: pods' });
  });
  it('leaves alone what a quota does not speak of', () => {
    expect(judge({ services: '1' }, { services: '1' })).toEqual({ type: 'untouched' });
  });
});
