import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: probes through the guest's agent, a restart of the node agent, and a guest that is ended. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const WAIT_MS = 240_000;

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}
interface Instance {
  readonly metadata: { readonly uid: string };
  readonly status?: { readonly phase?: string; readonly conditions?: readonly Condition[] };
}
interface Slices {
  readonly items: readonly { readonly endpoints?: readonly { readonly conditions: { readonly ready: boolean } }[] }[];
}

const readyOf = ({ status }: Instance): Condition | undefined => status?.conditions?.find(({ type }) => type === 'Ready');

const service = {
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'default' } },
  spec: { selector: { app: 'probed' }, ports: [{ port: 80 }] },
};

describe('probes of a guest', () => {
  let platform: Platform;
  let images: ImageServer;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny-generic');
    images = await serveImages({ '/disk.qcow2': qcow2Path });
    platform = await startPlatform();
  }, 480_000);
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  /** Waits until instance, VM, pod and Service say the same of the guest. */
  const untilReady = async (isReady: boolean): Promise<void> => {
    const wanted = isReady ? 'True' : 'False';
    await platform.until<Instance>('vmi probed', (vmi) => readyOf(vmi)?.status === wanted, WAIT_MS);
    await platform.until<Instance>('vm probed', (vm) => readyOf(vm)?.status === wanted, WAIT_MS);
    const isSo = ({ items }: { items: readonly Instance[] }): boolean => items.every((pod) => readyOf(pod)?.status === wanted);
    await platform.until<{ items: readonly Instance[] }>('pods -l app=probed', isSo, WAIT_MS);
    const hasEndpoint = ({ items }: Slices): boolean =>
      items.some(({ endpoints }) => endpoints?.some(({ conditions }) => conditions.ready === isReady) === true);
    await platform.until<Slices>('endpointslices -l kubernetes.io/service-name=web', hasEndpoint, WAIT_MS);
  };

  const untilTold = (text: string) =>
    platform.until<{ items: readonly { message?: string }[] }>('events -n default', ({ items }) =>
      items.some(({ message }) => message === text),
    );

  it('is ready when it answers, and not ready when it does not', async () => {
    await platform.apply(service);
    const readinessProbe = { httpGet: { port: 80, path: '/ready' }, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 20 };
    await platform.apply(shellVm('probed', `${images.url}/disk.qcow2`, { spec: { readinessProbe } }));
    const guest = await guestShell(platform, 'probed', '', WAIT_MS);
    await platform.until<Instance>('vmi probed', (vmi) => readyOf(vmi)?.reason === 'ContainersNotReady', WAIT_MS);
    await guest.run('echo yes > /www/ready');
    await untilReady(true);
    await guest.run('rm /www/ready');
    await untilReady(false);
    await untilTold('Readiness probe failed: HTTP probe failed with statuscode: 404');
    await platform.kubectl('delete', 'vm', 'probed', '--timeout=120s');
  }, 600_000);

  it.runIf(isLong)(
    'is asked through its agent, also by the next node agent, and ended when it is dead',
    async () => {
      const patient = { periodSeconds: 1, timeoutSeconds: 20 };
      const probes = {
        readinessProbe: { guestAgentPing: {}, ...patient, failureThreshold: 5 },
        livenessProbe: {
          exec: { command: ['/bin/sh', '-c', 'test ! -e /tmp/dead || { echo told to die; exit 3; }'] },
          ...{ ...patient, initialDelaySeconds: 110, failureThreshold: 10 },
        },
      };
      await platform.apply(shellVm('probed', `${images.url}/disk.qcow2`, { spec: probes }));
      const guest = await guestShell(platform, 'probed', '', WAIT_MS);
      await untilReady(true);
      const since = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].lastTransitionTime}';
      const readySince = () => platform.kubectl('get', 'pods', '-l', 'app=probed', '-o', since);
      const before = await readySince();
      expect((await platform.slipway('down')).code).toBe(0);
      expect((await platform.slipway('up', '--yes')).code).toBe(0);
      await untilReady(true);
      expect(await readySince()).toBe(before);
      expect(await guest.run('touch /tmp/dead; echo touched')).toBe('touched\n');
      const again = await guestShell(platform, 'probed', guest.instanceUid, 2 * WAIT_MS);
      expect(again.instanceUid).not.toBe(guest.instanceUid);
      await untilTold('Liveness probe failed: command "/bin/sh" ended with status 3: told to die');
      await untilTold('Container compute failed liveness probe');
      await platform.kubectl('delete', 'vm', 'probed', '--timeout=120s');
    },
    1_500_000,
  );
});
