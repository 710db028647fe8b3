import { expect, it } from 'vitest';
import { imageLabels } from './image-labels.ts';

it.each<[unknown[], object]>([
  [
    ['INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=fedora', 'PATH=/bin'],
    { 'instancetype.kubevirt.io/default-preference': 'fedora' },
  ],
  [['A_B_KUBEVIRT_IO_C_D=x.1'], { 'a.b.kubevirt.io/c-d': 'x.1' }],
  [['INSTANCETYPE_KUBEVIRT_IO_X=not a label', 'KUBEVIRT_IO_X=y', '_KUBEVIRT_IO_X=y', 'A_KUBEVIRT_IO_=y', 7], {}],
  [[`A_KUBEVIRT_IO_B=${'x'.repeat(64)}`], {}],
])('%j', (Env, labels) => {
  expect(imageLabels({ config: { Env } })).toEqual(labels);
});

it.each([null, 1, {}, { config: null }, { config: { Env: 'A=b' } }])('%j says nothing', (config) => {
  expect(imageLabels(config)).toEqual({});
});
