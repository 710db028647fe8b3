import type { StorageClass, StorageProfile, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { keepsState, stateClaim } from './state-claim.ts';

const instance = (domain: object, ownerUid?: string): VirtualMachineInstance =>
  ({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: {
      ...{ name: 'web', namespace: 'shop', uid: 'instance-1' },
      ...(ownerUid && {
        ownerReferences: [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: 'web', uid: ownerUid, controller: true }],
      }),
    },
    spec: { domain: { devices: {}, ...domain } },
  }) as VirtualMachineInstance;
const storageClass = (name: string, annotation?: string): StorageClass =>
  ({
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name, ...(annotation && { annotations: { [annotation]: 'true' } }) },
    provisioner: 'x',
  }) as StorageClass;
const FOR_ALL = storageClass('plain', 'storageclass.kubernetes.io/is-default-class');
const FOR_VMS = storageClass('virt', 'storageclass.kubevirt.io/is-default-virt-class');
const none = { className: undefined, classes: [], profiles: [] };

describe('keepsState', () => {
  it.each([
    ['a persistent TPM', { devices: { tpm: { persistent: true } } }, true],
    ['a persistent TPM that is switched off', { devices: { tpm: { persistent: true, enabled: false } } }, false],
    ['a TPM that forgets', { devices: { tpm: {} } }, false],
    ['persistent EFI variables', { firmware: { bootloader: { efi: { persistent: true } } } }, true],
    ['EFI', { firmware: { bootloader: { efi: {} } } }, false],
    ['nothing', {}, false],
  ])('%s', (_, domain, keeps) => expect(keepsState(instance(domain))).toBe(keeps));
});

describe('stateClaim', () => {
  it('is one claim for each VM, which owns it', () => {
    const storage = { ...none, classes: [FOR_ALL] };
    const claim = stateClaim(instance({}, 'vm-1'), storage);
    expect(claim).toMatchObject({
      metadata: { namespace: 'shop', labels: { 'persistent-state-for': 'web' }, ownerReferences: [{ uid: 'vm-1' }] },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'plain', resources: { requests: { storage: '10Mi' } } },
    });
    expect(claim.metadata.name).toMatch(/^persistent-state-for-web-[0-9a-f]{5}$/);
    expect(stateClaim(instance({}, 'vm-1'), storage).metadata.name).toBe(claim.metadata.name);
    expect(stateClaim(instance({}, 'vm-2'), storage).metadata.name).not.toBe(claim.metadata.name);
  });

  it('belongs to an instance that no VM owns', () => {
    expect(stateClaim(instance({}), { ...none, classes: [FOR_ALL] }).metadata.ownerReferences).toMatchObject([
      { kind: 'VirtualMachineInstance', uid: 'instance-1' },
    ]);
  });

  it.each([
    ['the configured class, shared where nothing is known of it', { className: 'own' }, 'own', 'ReadWriteMany'],
    ['the class for VMs before the cluster default', { classes: [FOR_ALL, FOR_VMS] }, 'virt', 'ReadWriteOnce'],
  ])('takes %s', (_, storage, name, mode) => {
    const { spec } = stateClaim(instance({}), { ...none, ...storage });
    expect([spec?.storageClassName, spec?.accessModes]).toEqual([name, [mode]]);
  });

  it('is shared where the class can', () => {
    const sets = [{ volumeMode: 'Filesystem', accessModes: ['ReadWriteMany'] }];
    const profile = { metadata: { name: 'plain' }, spec: {}, status: { claimPropertySets: sets } } as unknown as StorageProfile;
    const { spec } = stateClaim(instance({}), { ...none, classes: [FOR_ALL], profiles: [profile] });
    expect(spec?.accessModes).toEqual(['ReadWriteMany']);
  });

  it('says that there is no class for it', () => {
    expect(() => stateClaim(instance({}), none)).toThrow(/No default storage class/);
  });
});
