import { describe, expect, it } from 'vitest';
import { storedInstance, TEST_UUID } from '../testing.ts';
import { downwardApiDisk, keyedDisk, sysprepDisk } from './config-disks.ts';
import { cloudInitDisk, type ConfigDisk, seedKeySecretNames, SeedError, seedSecretNames } from './seed.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const contents = (disk: ConfigDisk | undefined): Record<string, string> =>
  Object.fromEntries((disk?.files ?? []).map(({ path, data }) => [path, new TextDecoder().decode(data)]));
const none = { secrets: new Map() };

describe('cloudInitDisk', () => {
  it('writes NoCloud data', () => {
    const volume = {
      name: 'ci',
      cloudInitNoCloud: { userData: '#cloud-config\n', networkDataBase64: Buffer.from('version: 2').toString('base64') },
    };
    const disk = cloudInitDisk(storedInstance({ hostname: 'host-1' }), volume, {
      ...none,
      publicKeys: ['ssh-ed25519 A', 'ssh-ed25519 B'],
    });
    const files = contents(disk);
    expect(disk?.label).toBe('cidata');
    expect(JSON.parse(files['meta-data'] ?? '')).toEqual({
      'instance-id': TEST_UUID,
      'local-hostname': 'host-1',
      'public-keys': { 0: 'ssh-ed25519 A', 1: 'ssh-ed25519 B' },
    });
    expect([files['user-data'], files['network-config']]).toEqual(['#cloud-config\n', 'version: 2']);
  });

  it('writes ConfigDrive data from Secrets under either spelling of the key', () => {
    const volume = { name: 'ci', cloudInitConfigDrive: { secretRef: { name: 's' }, networkDataSecretRef: { name: 'n' } } };
    const secrets = new Map([
      ['s', { userData: bytes('#!/bin/sh') }],
      ['n', { networkdata: bytes('{}') }],
    ]);
    const files = contents(cloudInitDisk(storedInstance(), volume, { secrets }));
    expect(JSON.parse(files['openstack/latest/meta_data.json'] ?? '')).toMatchObject({
      instance_id: 'web.shop',
      uuid: TEST_UUID,
      hostname: 'web',
    });
    expect([files['openstack/latest/user_data'], files['openstack/latest/network_data.json']]).toEqual(['#!/bin/sh', '{}']);
    expect(seedSecretNames(volume)).toEqual(['s', 'n']);
  });

  it('says which Secret is missing', () => {
    const volume = { name: 'ci', cloudInitNoCloud: { secretRef: { name: 'gone' } } };
    expect(() => cloudInitDisk(storedInstance(), volume, none)).toThrow(new SeedError('Secret gone is missing'));
  });

  it('takes keys only from credentials that use this kind of disk', () => {
    const key = (secretName: string, propagationMethod: object) => ({
      sshPublicKey: { source: { secret: { secretName } }, propagationMethod },
    });
    const vmi = storedInstance({ accessCredentials: [key('a', { noCloud: {} }), key('b', { configDrive: {} })] });
    expect(seedKeySecretNames(vmi, { name: 'ci', cloudInitNoCloud: {} })).toEqual(['a']);
  });
});

describe('other disks', () => {
  it('labels disks of keys and refuses a sysprep disk without answers', () => {
    expect(
      keyedDisk({ name: 'c', configMap: { name: 'c', volumeLabel: 'mine' } }, { b: bytes('2'), a: bytes('1') }).files.map(
        ({ path }) => path,
      ),
    ).toEqual(['a', 'b']);
    expect(sysprepDisk({ 'Autounattend.XML': bytes('<x/>') }).label).toBe('unattendCD');
    expect(() => sysprepDisk({ other: bytes('') })).toThrow(SeedError);
  });

  it('writes fields of the object', () => {
    const vmi = storedInstance();
    vmi.metadata.labels = { b: '2', a: 'x"y' };
    const field = (path: string, fieldPath: string) => ({ path, fieldRef: { fieldPath } });
    const disk = downwardApiDisk(vmi, {
      name: 'd',
      downwardAPI: { fields: [field('l', 'metadata.labels'), field('n', "metadata.labels['b']")] },
    });
    expect(contents(disk)).toEqual({ l: 'a="x\\"y"\nb="2"', n: '2' });
  });
});
