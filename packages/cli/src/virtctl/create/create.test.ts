import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { virtctl } from '../testing.ts';

const USER_DATA = 'I2Nsb3VkLWNvbmZpZwo=';

async function manifest(line: string | readonly string[]): Promise<unknown> {
  const { status, out, err, requests } = await virtctl(line);
  expect({ status, err, requests }).toEqual({ status: 0, err: '', requests: [] });
  return parse(out);
}

const vm = (spec: object, template: object, metadata: object = {}) => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachine',
  metadata: { creationTimestamp: null, name: 'web', ...metadata },
  spec: {
    runStrategy: 'Always',
    ...spec,
    template: {
      metadata: { creationTimestamp: null },
      spec: {
        domain: { devices: {}, memory: { guest: '512Mi' }, resources: {} },
        terminationGracePeriodSeconds: 180,
        ...template,
      },
    },
  },
  status: {},
});
const domain = (more: object) => ({ domain: { devices: {}, resources: {}, ...more } });

describe('create vm', () => {
  it('prints keys in order, lists not indented', async () => {
    expect((await virtctl('create vm --volume-pvc=src:data')).out).toBe(`apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  creationTimestamp: null
  name: vm-xxxxx
spec:
  instancetype:
    inferFromVolume: data
    inferFromVolumeFailurePolicy: Ignore
  preference:
    inferFromVolume: data
    inferFromVolumeFailurePolicy: Ignore
  runStrategy: Always
  template:
    metadata:
      creationTimestamp: null
    spec:
      domain:
        devices: {}
        memory:
          guest: 512Mi
        resources: {}
      terminationGracePeriodSeconds: 180
      volumes:
      - name: data
        persistentVolumeClaim:
          claimName: data
status: {}
`);
  });

  it.each<[string, object]>([
    ['-n shop', vm({}, {}, { namespace: 'shop' })],
    ['--run-strategy=Halted --termination-grace-period 5', vm({ runStrategy: 'Halted' }, { terminationGracePeriodSeconds: 5 })],
    ['--memory=1Gi', vm({}, domain({ memory: { guest: '1Gi' } }))],
    ['--instancetype=u1.small', vm({ instancetype: { name: 'u1.small' } }, domain({}))],
    ['--preference=virtualmachinepreference/mine', vm({ preference: { kind: 'virtualmachinepreference', name: 'mine' } }, {})],
    [
      '--volume-containerdisk=src:reg/img:tag --volume-containerdisk=src:reg/two,name:extra',
      vm(
        {},
        {
          volumes: [
            { containerDisk: { image: 'reg/img:tag' }, name: 'web-containerdisk-0' },
            { containerDisk: { image: 'reg/two' }, name: 'extra' },
          ],
        },
      ),
    ],
    [
      '--volume-import=type:blank,size:5Gi --volume-containerdisk=src:img,bootorder:1',
      vm(
        {
          dataVolumeTemplates: [
            {
              metadata: { creationTimestamp: null, name: 'web-imported-volume-0' },
              spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '5Gi' } } } },
            },
          ],
        },
        {
          ...domain({
            devices: { disks: [{ bootOrder: 1, name: 'web-containerdisk-0' }] },
            memory: { guest: '512Mi' },
          }),
          volumes: [
            { containerDisk: { image: 'img' }, name: 'web-containerdisk-0' },
            { dataVolume: { name: 'web-imported-volume-0' }, name: 'web-imported-volume-0' },
          ],
        },
      ),
    ],
    [
      '--infer-instancetype --infer-preference=false --volume-import=type:ds,src:os-images/fedora,name:root',
      vm(
        {
          dataVolumeTemplates: [
            {
              metadata: { creationTimestamp: null, name: 'root' },
              spec: {
                sourceRef: { kind: 'DataSource', name: 'fedora', namespace: 'os-images' },
                storage: { resources: {} },
              },
            },
          ],
          instancetype: { inferFromVolume: 'root' },
        },
        { ...domain({}), volumes: [{ dataVolume: { name: 'root' }, name: 'root' }] },
      ),
    ],
    [
      '--infer-instancetype=false --infer-preference=false --volume-import=type:http,url:https://host:8443/x.qcow2,size:1Gi,certconfigmap:ca,name:root',
      vm(
        {
          dataVolumeTemplates: [
            {
              metadata: { creationTimestamp: null, name: 'root' },
              spec: {
                source: { http: { url: 'https://host:8443/x.qcow2', certConfigMap: 'ca' } },
                storage: { resources: { requests: { storage: '1Gi' } } },
              },
            },
          ],
        },
        { volumes: [{ dataVolume: { name: 'root' }, name: 'root' }] },
      ),
    ],
    [
      '--user jane --access-cred=src:keys',
      vm(
        {},
        {
          accessCredentials: [
            {
              sshPublicKey: {
                propagationMethod: { qemuGuestAgent: { users: ['jane'] } },
                source: { secret: { secretName: 'keys' } },
              },
            },
          ],
          volumes: [
            {
              cloudInitNoCloud: {
                userData: "#cloud-config\nuser: jane\nruncmd:\n  - [ setsebool, -P, 'virt_qemu_ga_manage_ssh', 'on' ]",
              },
              name: 'cloudinitdisk',
            },
          ],
        },
      ),
    ],
    [
      '--access-cred=src:keys,method:nocloud',
      vm(
        {},
        {
          accessCredentials: [
            { sshPublicKey: { propagationMethod: { noCloud: {} }, source: { secret: { secretName: 'keys' } } } },
          ],
          volumes: [{ cloudInitNoCloud: {}, name: 'cloudinitdisk' }],
        },
      ),
    ],
    [
      `--cloud-init=configdrive --cloud-init-user-data=${USER_DATA} --volume-sysprep=src:answers,type:secret`,
      vm(
        {},
        {
          volumes: [
            { cloudInitConfigDrive: { userDataBase64: USER_DATA }, name: 'cloudinitdisk' },
            { name: 'sysprepdisk', sysprep: { secret: { name: 'answers' } } },
          ],
        },
      ),
    ],
  ])('%s', async (flags, expected) => {
    expect(await manifest(`create vm --name=web ${flags}`)).toEqual(expected);
  });

  it('takes SSH keys with blanks as they are', async () => {
    expect(await manifest(['create', 'vm', '--name=web', '--user=jane', '--ssh-key', 'ssh-ed25519 AAAA jane@home'])).toEqual(
      vm(
        {},
        {
          volumes: [
            {
              cloudInitNoCloud: {
                userData: '#cloud-config\nuser: jane\nssh_authorized_keys:\n  - ssh-ed25519 AAAA jane@home',
              },
              name: 'cloudinitdisk',
            },
          ],
        },
      ),
    );
  });

  it.each([
    ['--memory=1Gi --instancetype=u1.small', 'none of the others can be; [instancetype memory] were all set'],
    ['--run-strategy=Sometimes', 'failed to parse "--run-strategy" flag: invalid run strategy "Sometimes"'],
    ['--volume-pvc=data', 'failed to parse "--volume-pvc" flag: params need to have at least one colon: data'],
    ['--volume-pvc=src:shop/data', 'not allowed to specify namespace of PVC'],
    ['--volume-pvc=src:data,color:red', 'failed to parse "--volume-pvc" flag: unknown param(s): color:red'],
    ['--volume-pvc=src:data,bootorder:0', 'bootorder must be a whole number greater than 0, not "0"'],
    ['--volume-pvc=src:a,bootorder:1 --volume-pvc=src:b,bootorder:1', 'bootorder 1 was specified multiple times'],
    ['--volume-pvc=src:a --volume-pvc=src:a', "there is already a volume with name 'a'"],
    ['--volume-import=type:http,url:http://x', 'failed to parse "--volume-import" flag: size must be specified'],
    ['--volume-import=type:tape,src:x', 'unsupported source type tape'],
    ['--volume-import=type:blank,size:much', '"much" is no quantity'],
    ['--volume-import=type:blank,size:1Gi,url:http://x', 'unknown param(s) for type blank: url'],
    ['--infer-instancetype --volume-containerdisk=src:x', "is not possible from volume 'web-containerdisk-0'"],
    ['--infer-preference-from=other', "there is no volume with name 'other'"],
    ['--access-cred=src:keys', 'user must be specified'],
    ['--access-cred=src:pw,type:password,method:nocloud', 'a password is propagated by the guest agent alone'],
    [`--user=jane --cloud-init-user-data=${USER_DATA}`, '--cloud-init-user-data cannot be combined'],
    ['--instancetype=flavor/x', 'invalid instancetype kind "flavor"'],
  ])('refuses %s', async (flags, reason) => {
    const { status, out, err } = await virtctl(`create vm --name=web ${flags}`);
    expect({ status, out }).toEqual({ status: 1, out: '' });
    expect(err).toContain(reason);
  });
});

describe('create instancetype, preference and clone', () => {
  it.each<[string, object]>([
    [
      'create instancetype --name=it --cpu 2 --memory=1Gi --gpu=name:g0,devicename:nvidia.com/GV100 --iothreadspolicy=auto',
      {
        apiVersion: 'instancetype.kubevirt.io/v1beta1',
        kind: 'VirtualMachineClusterInstancetype',
        metadata: { creationTimestamp: null, name: 'it' },
        spec: {
          cpu: { guest: 2 },
          gpus: [{ deviceName: 'nvidia.com/GV100', name: 'g0' }],
          ioThreadsPolicy: 'auto',
          memory: { guest: '1Gi' },
        },
      },
    ],
    [
      '-n shop create preference --namespaced --cpu-topology=preferCores',
      {
        apiVersion: 'instancetype.kubevirt.io/v1beta1',
        kind: 'VirtualMachinePreference',
        metadata: { creationTimestamp: null, name: 'preference-xxxxx', namespace: 'shop' },
        spec: { cpu: { preferredCPUTopology: 'preferCores' } },
      },
    ],
    [
      'create clone --source-name=web --source-type=VMSnapshot --target-name=web2 --label-filter=* --new-mac-address=default:02:00:00:00:00:01',
      {
        apiVersion: 'clone.kubevirt.io/v1beta1',
        kind: 'VirtualMachineClone',
        metadata: { creationTimestamp: null, name: 'clone-xxxxx' },
        spec: {
          labelFilters: ['*'],
          newMacAddresses: { default: '02:00:00:00:00:01' },
          source: { apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: 'web' },
          target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web2' },
          template: {},
        },
        status: {},
      },
    ],
  ])('%s', async (line, expected) => {
    expect(await manifest(line)).toEqual(expected);
  });

  it.each([
    ['create instancetype --cpu=2', 'required flag(s) "memory" not set'],
    ['create instancetype --cpu=two --memory=1Gi', 'invalid argument "two" for "--cpu" flag'],
    ['create preference --cpu-topology=best', 'CPU topology must have a value of'],
    ['create clone', 'required flag(s) "source-name" not set'],
    ['create clone --source-name=a --target-type=snapshot', 'target-type snapshot is not supported'],
  ])('refuses %s', async (line, reason) => {
    const { status, err } = await virtctl(line);
    expect(status).toBe(1);
    expect(err).toContain(reason);
  });
});
