import type { GuestKind } from './demo.ts';

export const DEMO_VM = 'demo';
export const DEMO_USER = 'demo';
export const DEMO_PASSWORD = 'slipway';

/** The manifest that the demo writes to a file, shows, and gives to `kubectl apply -f`. */
export function demoManifest(kind: GuestKind, imageUrl: string): string {
  const size = kind === 'debian' ? { disk: '2Gi', memory: '1Gi', cores: 2 } : { disk: '128Mi', memory: '128Mi', cores: 1 };
  return `apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: ${DEMO_VM}
  namespace: default
spec:
  runStrategy: Always
  dataVolumeTemplates:
    - metadata:
        name: ${DEMO_VM}-root
      spec:
        source:
          http:
            url: ${imageUrl}
        storage:
          resources:
            requests:
              storage: ${size.disk}
  template:
    metadata:
      labels:
        kubevirt.io/domain: ${DEMO_VM}
    spec:
      domain:
        cpu:
          cores: ${size.cores}
        memory:
          guest: ${size.memory}
        devices:
          rng: {}
          disks:
            - name: root
              disk:
                bus: virtio
            - name: seed
              disk:
                bus: virtio
          interfaces:
            - name: default
              masquerade: {}
      networks:
        - name: default
          pod: {}
      volumes:
        - name: root
          dataVolume:
            name: ${DEMO_VM}-root
        - name: seed
          cloudInitNoCloud:
            userData: |
              #cloud-config
              hostname: ${DEMO_VM}
              user: ${DEMO_USER}
              password: ${DEMO_PASSWORD}
              chpasswd: { expire: False }
`;
}
