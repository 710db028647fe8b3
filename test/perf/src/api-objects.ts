/** Objects of the API benchmark, as small as users' own are. */
export const CONFIG_MAPS = (namespace: string): string => `/api/v1/namespaces/${namespace}/configmaps`;
export const VIRTUAL_MACHINES = (namespace: string): string => `/apis/kubevirt.io/v1/namespaces/${namespace}/virtualmachines`;

export const configMap = (name: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, labels: { app: 'bench' } },
    data: { 'app.properties': 'color=blue\nsize=12\nurl=https://example.com/\n', mode: 'plain' },
  });

/** A halted VM with the usual sections: labels, two disks, cloud-init, a network. */
export const virtualMachine = (name: string): string =>
  JSON.stringify({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, labels: { app: name, 'kubevirt.io/os': 'linux' }, annotations: { description: 'API benchmark' } },
    spec: {
      runStrategy: 'Halted',
      template: {
        metadata: { labels: { 'kubevirt.io/domain': name, 'kubevirt.io/size': 'small' } },
        spec: {
          domain: {
            cpu: { cores: 2 },
            memory: { guest: '1Gi' },
            devices: {
              disks: [
                { name: 'root', disk: { bus: 'virtio' } },
                { name: 'cloudinit', disk: { bus: 'virtio' } },
              ],
              interfaces: [{ name: 'default', masquerade: {} }],
              rng: {},
            },
            resources: { requests: { memory: '1Gi' } },
          },
          networks: [{ name: 'default', pod: {} }],
          terminationGracePeriodSeconds: 180,
          volumes: [
            { name: 'root', containerDisk: { image: 'example.com/disks/debian:12' } },
            {
              name: 'cloudinit',
              cloudInitNoCloud: { userData: '#cloud-config\nhostname: bench\nssh_pwauth: false\nusers:\n  - name: debian\n' },
            },
          ],
        },
      },
    },
  });
