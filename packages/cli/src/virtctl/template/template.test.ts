import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { virtctl } from '../testing.ts';
import { processTemplate } from './template-engine.ts';

const template = {
  apiVersion: 'template.kubevirt.io/v1beta1',
  kind: 'VirtualMachineTemplate',
  metadata: { name: 'small' },
  spec: {
    message: 'log in as ${USER}',
    parameters: [
      { name: 'NAME', generate: 'expression', from: 'vm-[a-c0-1]{4}' },
      { name: 'USER', value: 'jane' },
      { name: 'CPU', value: '2' },
      { name: 'ZONE', required: true },
    ],
    virtualMachine: {
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachine',
      metadata: { name: '${NAME}', labels: { zone: 'z-${ZONE}' } },
      spec: { cores: '${{CPU}}', text: '${CPU}' },
    },
  },
};
const base = '/apis/template.kubevirt.io/v1beta1/namespaces/default/virtualmachinetemplates';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'template-'));
  await writeFile(`${dir}/t.yaml`, JSON.stringify(template));
  await writeFile(`${dir}/params.yaml`, 'ZONE: b\nCPU: 8\n');
  const { spec, ...rest } = template;
  const openshift = { ...rest, kind: 'Template', parameters: spec.parameters, objects: [spec.virtualMachine] };
  await writeFile(`${dir}/openshift.yaml`, JSON.stringify(openshift));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('template process', () => {
  it('fills in a file: text, values and what is made up', async () => {
    const { out, err, status } = await virtctl(`template process -f ${dir}/t.yaml -p ZONE=b`);
    expect({ status, err }).toEqual({ status: 0, err: 'log in as jane\n' });
    expect(parse(out)).toEqual({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachine',
      metadata: { name: expect.stringMatching(/^vm-[abc01]{4}$/), labels: { zone: 'z-b' } },
      spec: { cores: 2, text: '2' },
    });
  });

  it('takes values of a file, and prints JSON', async () => {
    const { out } = await virtctl(`template process -f ${dir}/t.yaml --params-file ${dir}/params.yaml -o json`);
    expect(JSON.parse(out)).toMatchObject({ spec: { cores: 8, text: '8' } });
  });

  it('makes up values with every letter of its ranges', () => {
    let next = 0;
    const made = processTemplate(
      { spec: { parameters: [{ name: 'A', generate: 'expression', from: '[\\d]{10}-[a-c]{3}' }], virtualMachine: '${A}' } },
      {},
      (limit) => next++ % limit,
    );
    expect(made.virtualMachine).toBe('0123456789-bca');
  });

  it('prints the parameters', async () => {
    const { out } = await virtctl('template process small --print-params', {
      answers: { [`GET ${base}/small`]: () => template },
    });
    expect(parse(out)).toEqual(template.spec.parameters);
  });

  it('lets the cluster do it unless told otherwise', async () => {
    const remote = '/apis/subresources.template.kubevirt.io/v1beta1/namespaces/default/virtualmachinetemplates/small';
    const virtualMachine = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'web' } };
    const answers = {
      [`POST ${remote}/process`]: () => ({ virtualMachine, message: 'done' }),
      [`POST ${remote}/create`]: () => ({ virtualMachine }),
      [`GET ${base}/small`]: () => template,
    };
    const { out, err, requests } = await virtctl('template process small -p CPU=4', { answers });
    expect({ name: parse(out).metadata.name, err }).toEqual({ name: 'web', err: 'done\n' });
    expect(requests[0]).toContain('"parameters":{"CPU":"4"}');
    expect((await virtctl('template process small --create', { answers })).out).toBe('virtualmachine.kubevirt.io/web created\n');
    expect((await virtctl('template process small --local -p ZONE=c', { answers })).out).toContain('zone: z-c');
  });

  it.each([
    ['', 'name or file must be provided'],
    ['a --name b', 'provide name either from positional argument or from flag'],
    ['a -f b', 'only one of name or file can be provided'],
    ['-f a --create', '[create file] were all set'],
    ['a -o xml', 'not supported output format: xml'],
    ['a -p x', 'invalid argument "x" for "-p, --param" flag: x must be formatted as key=value'],
    ['-f DIR/t.yaml', 'required parameter(s) without a value: ZONE'],
    ['-f DIR/t.yaml -p NO=1', 'error merging template parameters: unknown parameter(s): NO'],
    ['-f /nowhere', 'error opening file /nowhere'],
  ])('refuses "%s"', async (flags, reason) => {
    const line = `template process ${flags.replace('DIR', dir)}`.trim();
    const { status, err } = await virtctl(line);
    expect(status).toBe(1);
    expect(err).toContain(reason);
  });
});

describe('template convert and create', () => {
  it('keeps what both kinds of template have', async () => {
    const { out } = await virtctl(`template convert -f ${dir}/openshift.yaml`);
    const { message: _, ...spec } = template.spec;
    expect(parse(out)).toEqual({ ...template, spec });
  });

  it('asks for a template of a VM', async () => {
    const path = '/apis/template.kubevirt.io/v1beta1/namespaces/default/virtualmachinetemplaterequests';
    const answers = { [`POST ${path}`]: () => ({ metadata: { name: 'web-abc' } }) };
    const { out, requests } = await virtctl('template create --vm-name web --name t1', { answers });
    expect(out).toBe('virtualmachinetemplaterequest.template.kubevirt.io/web-abc created\n');
    expect(requests[0]).toContain('"spec":{"virtualMachineRef":{"namespace":"default","name":"web"},"templateName":"t1"}');
    expect((await virtctl('template create')).err).toBe('required flag(s) "vm-name" not set\n');
  });
});
