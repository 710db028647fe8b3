/** A small VM whose disk is imported over HTTP; the manifest a user would write. */
export function importedVm(
  name: string,
  imageUrl: string,
  options: { runStrategy?: string; memory?: string; storage?: object } = {},
): object {
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: {
      runStrategy: options.runStrategy ?? 'Always',
      dataVolumeTemplates: [
        {
          metadata: { name: `${name}-root` },
          spec: {
            source: { http: { url: imageUrl } },
            storage: { resources: { requests: { storage: '128Mi' } }, ...options.storage },
          },
        },
      ],
      template: {
        metadata: { labels: { 'kubevirt.io/domain': name } },
        spec: {
          domain: {
            cpu: { cores: 1 },
            memory: { guest: options.memory ?? '128Mi' },
            devices: {
              disks: [
                { name: 'root', disk: { bus: 'virtio' } },
                { name: 'seed', disk: { bus: 'virtio' } },
              ],
              interfaces: [{ name: 'default', masquerade: {} }],
              rng: {},
            },
          },
          networks: [{ name: 'default', pod: {} }],
          terminationGracePeriodSeconds: 20,
          volumes: [
            { name: 'root', dataVolume: { name: `${name}-root` } },
            {
              name: 'seed',
              cloudInitNoCloud: { userData: '#cloud-config\nuser: demo\npassword: secret\nchpasswd: { expire: False }\n' },
            },
          ],
        },
      },
    },
  };
}

/** A VM that needs no image: its firmware finds nothing to boot and waits, which is all that many tests need. */
export const idleVm = (
  name: string,
  options: {
    readonly terminationGracePeriodSeconds?: number;
    readonly domain?: object;
    readonly runStrategy?: string;
    /** Sizes the guest instead of the manifest. */
    readonly instancetype?: object;
  } = {},
): object => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { name, namespace: 'default' },
  spec: {
    runStrategy: options.runStrategy ?? 'Always',
    ...(options.instancetype && { instancetype: options.instancetype }),
    template: {
      spec: {
        domain: {
          ...(!options.instancetype && { memory: { guest: '64Mi' } }),
          devices: { disks: [{ name: 'scratch', disk: { bus: 'virtio' } }], interfaces: [{ name: 'default', masquerade: {} }] },
          ...options.domain,
        },
        networks: [{ name: 'default', pod: {} }],
        terminationGracePeriodSeconds: options.terminationGracePeriodSeconds ?? 0,
        volumes: [{ name: 'scratch', emptyDisk: { capacity: '16Mi' } }],
      },
    },
  },
});
