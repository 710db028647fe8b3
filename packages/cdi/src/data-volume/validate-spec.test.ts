import type { DataVolume } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { validateSpec, validateSpecUpdate } from './validate-spec.ts';

const http = { http: { url: 'https://images.example.com/disk' } };
const size = (storage: unknown) => ({ resources: { requests: { storage } } });
const ref = (kind: string, rest: object = {}) => ({ apiGroup: 'x', kind, name: 'n', ...rest });
const pvcSpec = (rest: object = {}) => ({ accessModes: ['ReadWriteOnce'], ...size('1Gi'), ...rest });

const dataVolume = (spec: object, name = 'disk'): DataVolume => ({ metadata: { name }, spec }) as unknown as DataVolume;
const from = (source: object) => ({ source, storage: size('1Gi') });

describe('validateSpec', () => {
  it.each<[string, object]>([
    ['Missing Data volume PVC', { source: http }],
    [
      'Duplicate storage definition, both target storage and target pvc defined',
      { source: http, pvc: pvcSpec(), storage: size('1Gi') },
    ],
    ["PVC size can't be equal or less than zero", { source: http, pvc: pvcSpec(size('0')) }],
    ["Storage size can't be equal or less than zero", { source: http, storage: size('-1Gi') }],
    ['Storage size should be at least 1MiB', { source: http, storage: size('1k') }],
    ['Storage size is missing', { source: http, storage: {} }],
    ['PVC size is missing', { source: { pvc: { namespace: 'a', name: 'b' } }, pvc: { accessModes: ['ReadWriteOnce'] } }],
    [
      'Name cannot be longer than 253 characters',
      { source: http, storage: { ...size('1Gi'), storageClassName: 'x'.repeat(254) } },
    ],
    ['Required value: at least 1 access mode is required', { source: http, pvc: pvcSpec({ accessModes: [] }) }],
    ['PVC multiple accessModes', { source: http, pvc: pvcSpec({ accessModes: ['ReadWriteOnce', 'ReadWriteMany'] }) }],
    [
      'Unsupported value: "X": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
      { source: http, pvc: pvcSpec({ accessModes: ['X'] }) },
    ],
    [
      'External population is incompatible with Source and SourceRef',
      { source: http, pvc: pvcSpec({ dataSourceRef: ref('A') }) },
    ],
    ['DataSourceRef and DataSource must match', { pvc: pvcSpec({ dataSource: ref('A'), dataSourceRef: ref('B') }) }],
    [
      'Invalid value: DataSourceRef namespace not supported',
      { storage: { ...size('1Gi'), dataSourceRef: ref('A', { namespace: 'other' }) } },
    ],
    ['Data volume should have either Source or SourceRef, or be externally populated', { storage: size('1Gi') }],
    [
      'Data volume should have either Source or SourceRef, or be externally populated',
      { ...from(http), sourceRef: { kind: 'DataSource', name: 'x' } },
    ],
    ['Missing sourceRef kind', { sourceRef: { kind: '', name: 'x' }, storage: {} }],
    [
      'Unsupported sourceRef kind X, currently only DataSource is supported',
      { sourceRef: { kind: 'X', name: 'x' }, storage: {} },
    ],
    ['Missing sourceRef name', { sourceRef: { kind: 'DataSource', name: '' }, storage: {} }],
    ['Missing Data volume source', from({})],
    ['Multiple Data volume sources', from({ ...http, blank: {} })],
    ['ContentType not one of: kubevirt, archive', { ...from(http), contentType: 'x' }],
    ['SourceType cannot be blank and the contentType be archive', { ...from({ blank: {} }), contentType: 'archive' }],
    [
      'ContentType must be kubevirt when Source is Registry',
      { ...from({ registry: { url: 'docker://x/y' } }), contentType: 'archive' },
    ],
    ['source URL is empty', from({ http: { url: '' } })],
    ['Invalid source URL: ::', from({ s3: { url: '::' } })],
    ['Invalid source URL scheme: ftp://x/y', from({ gcs: { url: 'ftp://x/y' } })],
    ['Source registry should have either URL or ImageStream', from({ registry: {} })],
    ['Source registry should have either URL or ImageStream', from({ registry: { url: 'docker://x/y', imageStream: 'z' } })],
    ['Illegal registry source URL scheme https://x/y', from({ registry: { url: 'https://x/y' } })],
    ['ImportMethod x is neither pod, node or ""', from({ registry: { url: 'docker://x/y', pullMethod: 'x' } })],
    ['Source registry ImageStream is supported only with node pull import method', from({ registry: { imageStream: 'x' } })],
    ['spec.source.Imageio source Imageio is not valid', from({ imageio: { url: 'https://x', diskId: 'd' } })],
    [
      'spec.source.Imageio source Imageio requires CertConfigMap or InsecureSkipVerify',
      from({ imageio: { url: 'https://x', diskId: 'd', secretRef: 's' } }),
    ],
    ['spec.source.VDDK source VDDK is not valid', from({ vddk: { url: 'https://x', uuid: 'u' } })],
    ['spec.source.PVC source PVC is not valid', from({ pvc: { namespace: '', name: 'x' } })],
    ['spec.source.Snapshot source snapshot is not valid', from({ snapshot: { namespace: 'x', name: '' } })],
  ])('%s', (message, spec) => {
    expect(validateSpec(dataVolume(spec)).map((cause) => cause.message)).toEqual([message]);
  });

  it('refuses a checksum that is none, and a name that is too long', () => {
    const [cause] = validateSpec(dataVolume(from({ http: { ...http.http, checksum: 'sha256:12' } })));
    expect(cause?.message).toMatch(/^Invalid checksum format: /);
    expect(validateSpec(dataVolume(from(http), 'x'.repeat(254)))).toHaveLength(1);
  });

  it.each([
    from(http),
    from({ gcs: { url: 'gs://b/o' } }),
    from({ vddk: { url: 'https://x', uuid: 'u', backingFile: 'b', thumbprint: 't', secretRef: 's' } }),
    { source: { snapshot: { namespace: 'a', name: 'b' } }, storage: {} },
    { sourceRef: { kind: 'DataSource', name: 'x' }, storage: {} },
    { storage: { ...size('1Gi'), dataSourceRef: ref('A'), dataSource: ref('A') } },
  ])('takes %j', (spec) => {
    expect(validateSpec(dataVolume(spec))).toEqual([]);
  });
});

describe('validateSpecUpdate', () => {
  const vddk = { vddk: { url: 'https://x', uuid: 'u', backingFile: 'b', thumbprint: 't', secretRef: 's' } };
  it.each<[string, object, object, number]>([
    ['nothing', from(http), { storage: size('1Gi'), source: http }, 0],
    ['its size', from(http), { source: http, storage: size('2Gi') }, 1],
    ['stages of what has none', from(http), { ...from(http), finalCheckpoint: true }, 1],
    ['stages', from(vddk), { ...from(vddk), checkpoints: [{ current: 'a', previous: '' }] }, 0],
  ])('changes %s', (_, old, next, complaints) => {
    expect(validateSpecUpdate(dataVolume(next), dataVolume(old))).toHaveLength(complaints);
  });
});
