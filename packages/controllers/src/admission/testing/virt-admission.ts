import type { Client } from '@slipway/client';
import type { AdmissionHandler, UserInfo } from '@slipway/runtime';
import { clusterConfig } from '@slipway/virt';
import { isPlatformUser, virtAdmissionHandlers } from '../index.ts';

/** The controllers, and the test, which plays agents and whatever else is not there. */
export const isPlatformOrTest = (user: UserInfo): boolean => user.username === 'tests' || isPlatformUser({ ...user, groups: [] });

/** Admission of KubeVirt's objects as a test world has it: default settings, a clock that stands, one UUID. */
export const virtAdmission = (client: Client): readonly AdmissionHandler[] =>
  virtAdmissionHandlers({
    client,
    config: () => clusterConfig(),
    now: () => new Date(0),
    newUuid: () => '00000000-0000-4000-8000-000000000001',
    isPlatform: isPlatformOrTest,
  });
