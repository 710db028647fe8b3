import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataVolumeKind, VirtualMachineInstanceKind } from '@slipway/api';
import { ignoreNotFound } from '@slipway/apimachinery';
import { type Client, createHttpClient, loadKubeconfigs, resolveKubeconfig } from '@slipway/client';
import { runAttached } from '@slipway/hostapi';
import { ensureHostPackages, GUEST_PACKAGES, KUBECTL_PACKAGE, RUN_PACKAGES } from '../host-packages.ts';
import type { InstancePaths } from '../instance/paths.ts';
import { startPlatform, type UpOptions } from '../lifecycle/up.ts';
import { createProgress, type Progress } from '../progress.ts';
import { UserError } from '../report-failure.ts';
import { buildImage } from '../development/guest-image.ts';
import { findProgram } from '../doctor/programs.ts';
import { DEMO_PASSWORD, DEMO_USER, DEMO_VM, demoManifest } from './demo-manifest.ts';
import { serveImages } from './image-server.ts';

export type GuestKind = 'tiny' | 'debian';

const KEY = { namespace: 'default', name: DEMO_VM };
const POLL_MS = 200;
const LOGIN = /login: ?$/;
const BOOT_TIMEOUT_MS: Record<GuestKind, number> = { tiny: 120_000, debian: 300_000 };

/** `slipway demo`: everything from a bare machine to a login prompt; repeating it shows the same VM again. */
export async function demo(options: UpOptions & { guest: string }): Promise<void> {
  const kind = options.guest;
  if (kind !== 'tiny' && kind !== 'debian') throw new UserError(`--guest is tiny or debian, not ${kind}`);
  const progress = createProgress(process.stderr, Date.now);
  const kubectl = findProgram('kubectl') === undefined ? [KUBECTL_PACKAGE] : [];
  await ensureHostPackages([...RUN_PACKAGES, ...GUEST_PACKAGES, ...kubectl], { yes: options.yes ?? false, progress });
  const { paths } = await startPlatform(options, progress, { allowLoopbackImports: true });
  const { client: config } = await resolveKubeconfig(await loadKubeconfigs([paths.adminKubeconfig]));
  const client = createHttpClient(config);
  try {
    await applyDemo(client, kind, paths, progress);
    const prompt = await showConsole(client, kind, progress);
    progress.done(`\n${prompt}\n${goOn(paths)}`);
  } finally {
    await client.close();
  }
}

async function applyDemo(client: Client, kind: GuestKind, paths: InstancePaths, progress: Progress): Promise<void> {
  const { qcow2Path } = await buildImage(kind, progress);
  // A URL with a fixed port keeps the manifest of a second demo the same as the first one's.
  const images = await serveImages({ [`/${kind}.qcow2`]: qcow2Path });
  const work = mkdtempSync('/tmp/slipway-demo-');
  try {
    const url = (await importedUrl(client)) ?? `${images.url}/${kind}.qcow2`;
    const file = join(work, 'vm.yaml');
    writeFileSync(file, demoManifest(kind, url));
    progress.step('kubectl apply -f vm.yaml');
    const status = await runAttached(['kubectl', '--kubeconfig', paths.adminKubeconfig, 'apply', '-f', file], {
      onStdout: (line) => progress.detail(line),
    });
    if (status !== 0) throw new Error(`kubectl apply failed with status ${status}`);
    await waitForImport(client, progress);
    await waitForRunning(client, progress);
  } finally {
    rmSync(work, { recursive: true, force: true });
    await images.close();
  }
}

/** Where the disk of an earlier demo came from. */
async function importedUrl(client: Client): Promise<string | undefined> {
  const volume = await orUndefined(client.get(DataVolumeKind, { ...KEY, name: `${DEMO_VM}-root` }));
  return volume?.spec.source?.http?.url;
}

async function waitForImport(client: Client, progress: Progress): Promise<void> {
  progress.step('importing the disk over HTTP');
  for (;;) {
    const volume = await orUndefined(client.get(DataVolumeKind, { ...KEY, name: `${DEMO_VM}-root` }));
    if (volume?.status?.phase === 'Succeeded') return;
    const failure = volume?.status?.conditions?.find((condition) => condition.type === 'Running' && condition.reason === 'Error');
    progress.detail([volume?.status?.phase, volume?.status?.progress, failure?.message].filter(Boolean).join(' '));
    await sleep(POLL_MS);
  }
}

async function waitForRunning(client: Client, progress: Progress): Promise<void> {
  progress.step('starting the VM');
  for (;;) {
    const vmi = await orUndefined(client.get(VirtualMachineInstanceKind, KEY));
    if (vmi?.status?.phase === 'Running') return;
    const trouble = vmi?.status?.conditions?.find(
      (condition) => condition.type === 'Synchronized' && condition.status === 'False',
    );
    progress.detail([vmi?.status?.phase, trouble?.message].filter(Boolean).join(': '));
    await sleep(POLL_MS);
  }
}

async function showConsole(client: Client, kind: GuestKind, progress: Progress): Promise<string> {
  progress.step('waiting for the login prompt on the serial console');
  const stream = await client.connect({
    path: `/apis/subresources.kubevirt.io/v1/namespaces/${KEY.namespace}/virtualmachineinstances/${KEY.name}/console`,
    protocols: ['plain.kubevirt.io'],
  });
  const timer = setTimeout(() => stream.close(), BOOT_TIMEOUT_MS[kind]);
  try {
    let output = '';
    await stream.send(Buffer.from('\n')); // a guest that has booted before prints its prompt again
    for await (const message of stream.messages) {
      output = (output + Buffer.from(message).toString('utf8')).slice(-4000);
      if (LOGIN.test(output)) return output.trimEnd().split(/\r?\n/).slice(-3).join('\n');
    }
    throw new Error(`No login prompt in ${BOOT_TIMEOUT_MS[kind] / 1000} s; the console ended with:\n${output.slice(-1000)}`);
  } finally {
    clearTimeout(timer);
    stream.close();
  }
}

const orUndefined = async <T>(promise: Promise<T>): Promise<T | undefined> => promise.catch(ignoreNotFound);

const goOn = (paths: InstancePaths): string => `
  export KUBECONFIG=${paths.adminKubeconfig}
  ./virtctl console ${DEMO_VM}          # log in as ${DEMO_USER} with password ${DEMO_PASSWORD}; Ctrl+] leaves
  kubectl get vm,vmi,dv,pods
  kubectl delete vm ${DEMO_VM}
  sudo ./slipway down                # guests keep running
  sudo ./slipway reset --yes         # removes everything
`;
