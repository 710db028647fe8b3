import { describe, expect, it } from 'vitest';
import { securityFindings } from './pod-security-plugin.ts';
import type { SecuredPod } from './pod-shape.ts';

const pod = (container: object = {}, spec: object = {}): SecuredPod => ({
  annotations: {},
  spec: { containers: [{ name: 'c', ...container }], ...spec },
});
const reasons = (one: SecuredPod, level: 'baseline' | 'restricted') => securityFindings(one, level).map(({ reason }) => reason);

describe('securityFindings', () => {
  it.each<[string, SecuredPod, string[]]>([
    ['a plain pod', pod(), []],
    ['host namespaces', pod({}, { hostPID: true, hostIPC: true }), ['host namespaces']],
    ['a host path', pod({}, { volumes: [{ name: 'v', hostPath: { path: '/' } }] }), ['hostPath volumes']],
    ['a host port', pod({ ports: [{ hostPort: 80 }] }), ['hostPort']],
    ['a capability', pod({ securityContext: { capabilities: { add: ['SYS_ADMIN', 'KILL'] } } }), ['non-default capabilities']],
    ['an unsafe sysctl', pod({}, { securityContext: { sysctls: [{ name: 'kernel.msgmax' }] } }), ['forbidden sysctls']],
  ])('baseline: %s', (_name, one, expected) => {
    expect(reasons(one, 'baseline')).toEqual(expected);
  });

  it('asks for everything of a restricted pod that says nothing', () => {
    expect(reasons(pod(), 'restricted')).toEqual([
      'allowPrivilegeEscalation != false',
      'unrestricted capabilities',
      'runAsNonRoot != true',
      'seccompProfile',
    ]);
  });

  it('finds nothing against a restricted pod that says what it must', () => {
    const securityContext = {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    };
    expect(securityFindings(pod({ securityContext }), 'restricted')).toEqual([]);
  });

  it('names containers and values in its details', () => {
    const [finding] = securityFindings(pod({ securityContext: { privileged: true } }), 'baseline');
    expect(finding?.detail).toBe('container "c" must not set securityContext.privileged=true');
  });
});
