import { DataImportCronKind, DataSourceKind, EventKind, NamespaceKind, VirtualMachineKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { SspKind } from '../kinds.ts';
import { commonTemplates } from './common-templates.ts';
import { generateExpression } from './generate-expression.ts';
import { commonTemplatesController, goldenImagesController } from './index.ts';
import { processTemplate } from './process-template.ts';
import { type Template, TemplateKind } from './template-kind.ts';
import { templateValidator } from './template-validator.ts';
import { brokenRules, parseRules } from './validate-machine.ts';

const last = (limit: number): number => limit - 1;
const template = (rest: Partial<Template>): Template => ({
  apiVersion: 'template.openshift.io/v1',
  kind: 'Template',
  metadata: { name: 't' },
  ...rest,
});

describe('processing of templates', () => {
  it('fills in values, as text and as JSON, in keys, values, labels and the message', () => {
    const processed = processTemplate(
      template({
        message: 'Hello ${WHO} ${NOBODY}',
        labels: { 'app-${WHO}': '${WHO}-x' },
        parameters: [
          { name: 'WHO', value: 'web' },
          { name: 'CPU', value: '4' },
          { name: 'RAW', value: 'no json' },
        ],
        objects: [
          {
            kind: 'A',
            metadata: { name: '${WHO}-${WHO}', namespace: 'fixed', labels: { own: 'y' } },
            spec: { '${WHO}': '${{CPU}}', t: '${CPU}', r: '${{RAW}}', u: '${{NONE}}' },
          },
          { kind: 'B', metadata: { namespace: '${WHO}' } },
        ],
      }),
      last,
    );
    expect(processed).toMatchObject({ message: 'Hello web ${NOBODY}', labels: { 'app-web': 'web-x' } });
    expect(processed.objects).toEqual([
      {
        kind: 'A',
        metadata: { name: 'web-web', labels: { own: 'y', 'app-web': 'web-x' } },
        spec: { web: 4, t: '4', r: 'no json', u: '${{NONE}}' },
      },
      { kind: 'B', metadata: { namespace: 'web', labels: { 'app-web': 'web-x' } } },
    ]);
  });

  it('reports all faults of parameters', () => {
    const parameters = [
      { name: 'A', required: true },
      { name: 'B', generate: 'magic' },
      { name: 'C', generate: 'expression', from: '[z-a]{2}' },
    ];
    expect(() => processTemplate(template({ parameters }), last)).toThrow(
      'template.parameters[0]: parameter A is required and must be specified, ' +
        "template.parameters[1]: Unknown generator name 'magic' for parameter B, template.parameters[2]: invalid range specified: z-a",
    );
  });

  it.each([
    ['[a-z0-9]{3}', '888'],
    ['x[A-Z]{2}-[0-1]{3}', 'xYY-000'],
    ['[\\d]{2}[\\a]{1}', '999'],
    ['[a-z]', '[a-z]'],
  ])('makes up %s', (from, made) => expect(generateExpression(from, last)).toBe(made));

  it.each([
    ['[ABC]{3}', 'malformed expresion syntax'],
    ['[a-z]{256}', 'range must be within [1-255] characters (256)'],
    ['[a-z]{0}', 'range must be within [1-255] characters (0)'],
  ])('refuses %s', (from, reason) => expect(() => generateExpression(from, last)).toThrow(reason));
});

describe('the common templates', () => {
  it.each([
    ['amd64', 90],
    ['arm64', 35],
    ['s390x', 47],
  ])('are as many as the bundle has for %s', (architecture, count) => {
    const templates = commonTemplates('openshift', 'images', architecture);
    expect(new Set(templates.map(({ metadata }) => metadata.name)).size).toBe(count);
  });

  it('have one default variant for each system, and a VM that keeps its own rules', () => {
    const templates = commonTemplates('openshift', 'images', 'amd64');
    const defaults = templates.filter(({ metadata }) => metadata.labels?.['template.kubevirt.io/default-os-variant']);
    expect(defaults.map(({ metadata }) => metadata.name)).toContain('rhel9-server-small');
    expect(defaults).toHaveLength(14);
    for (const each of templates) {
      const [machine] = processTemplate(each, last).objects as {
        metadata: { annotations: Record<string, string> };
        spec: { template: unknown };
      }[];
      const rules = parseRules(machine?.metadata.annotations['vm.kubevirt.io/validations'] ?? '');
      expect(brokenRules(rules, machine?.spec.template)).toEqual([]);
    }
  });
});

describe('rules of templates', () => {
  const machine = {
    spec: { domain: { cpu: { cores: 2 }, memory: { guest: '1Gi' }, devices: { disks: [{ disk: { bus: 'ide' } }] } } },
  };
  const rule = (fields: object) => JSON.stringify([{ name: 'r', message: 'No', ...fields }]);
  it.each([
    [
      { rule: 'integer', path: 'jsonpath::.spec.domain.memory.guest', min: 2 ** 31 },
      'No: value 1073741824 is lower than minimum [2147483648]',
    ],
    [{ rule: 'integer', path: 'jsonpath::.spec.domain.cpu.sockets', max: 0 }, 'No: value 1 is higher than maximum [0]'],
    [
      { rule: 'enum', path: 'jsonpath::.spec.domain.devices.disks[*].disk.bus', values: ['virtio'] },
      'No: Some of [ide] are not in [virtio]',
    ],
    [
      { rule: 'regex', path: 'jsonpath::.spec.domain.devices.disks[*].disk.bus', regex: '^virtio$' },
      'No: Some of [ide] do not match ^virtio$',
    ],
    [
      { rule: 'string', path: 'jsonpath::.spec.domain.devices.disks[*].disk.bus', minLength: 4 },
      'No: Lengths of some strings are not in interval [4, 9007199254740991]',
    ],
    [{ rule: 'integer', path: 'jsonpath::.spec.domain.cpu.cores', min: 'jsonpath::.spec.domain.cpu.sockets' }, undefined],
    [{ rule: 'enum', path: 'jsonpath::.spec.none', valid: 'jsonpath::.spec.none', values: ['x'] }, undefined],
  ])('%j', (fields, message) => {
    expect(brokenRules(parseRules(rule(fields)), machine).map((failure) => failure.message)).toEqual(
      message === undefined ? [] : [message],
    );
  });
});

describe('the SSP operator', () => {
  let world: TestWorld;
  afterEach(() => world.close());
  const NAME = 'openshift-cnv/ssp-kubevirt-hyperconverged';

  async function start(dataImportCronTemplates: object[] = []): Promise<void> {
    world = testWorld({
      api: 'server',
      controllers: [commonTemplatesController, goldenImagesController],
      admission: (client) => [templateValidator({ client }).handler],
    });
    await world.with(built(NamespaceKind, 'openshift-virtualization-os-images'));
    await world.with(built(SspKind, NAME, { spec: { commonTemplates: { namespace: 'openshift', dataImportCronTemplates } } }));
    await world.settle();
    await world.advance(2_000);
  }

  it('makes templates, and makes undone what somebody changes of them', async () => {
    await start();
    expect(await world.list(TemplateKind, 'openshift')).toHaveLength(90);
    const rhel = await world.get(TemplateKind, 'openshift/rhel9-server-small');
    await world.client.update(TemplateKind, { ...rhel, objects: [] });
    await world.settle();
    expect((await world.get(TemplateKind, 'openshift/rhel9-server-small')).objects).toEqual(rhel.objects);
  });

  it('makes crons, and DataSources for images that come by hand', async () => {
    const spec = {
      schedule: '',
      managedDataSource: 'fedora',
      template: { spec: { source: { http: { url: 'http://x/y' } }, storage: {} } },
    };
    await start([{ metadata: { name: 'fedora-image-cron' }, spec }]);
    const images = 'openshift-virtualization-os-images';
    expect((await world.list(DataImportCronKind, images)).map(({ metadata }) => metadata.name)).toEqual(['fedora-image-cron']);
    const sources = (await world.list(DataSourceKind, images)).map(({ metadata }) => metadata.name);
    expect(sources).toContain('rhel9');
    expect(sources).not.toContain('fedora');
  });

  it('says which cron is refused, and makes the others', async () => {
    const template = { spec: { source: { http: { url: 'http://x/y' } }, storage: {} } };
    const cron = (name: string, spec: object) => ({ metadata: { name }, spec: { schedule: '0 0 * * *', template, ...spec } });
    await start([cron('broken', {}), cron('whole', { managedDataSource: 'whole' })]);
    const images = 'openshift-virtualization-os-images';
    expect((await world.list(DataImportCronKind, images)).map(({ metadata }) => metadata.name)).toEqual(['whole']);
    const events = await world.list(EventKind, 'openshift-cnv');
    expect(events).toContainEqual(
      expect.objectContaining({
        reason: 'DataImportCronRefused',
        message: expect.stringMatching(/^broken: .*managedDataSource.*dataImportCronTemplates of the HyperConverged$/s),
      }),
    );
  });

  it('refuses VMs that break the rules that they carry', async () => {
    await start();
    const rules = [{ name: 'cores', rule: 'integer', path: 'jsonpath::.spec.domain.cpu.cores', message: 'More cores', min: 2 }];
    const annotations = { 'vm.kubevirt.io/validations': JSON.stringify(rules) };
    const vm = (cores: number) =>
      built(VirtualMachineKind, 'shop/web', {
        metadata: { annotations },
        spec: { template: { spec: { domain: { cpu: { cores }, devices: {} } } } },
      });
    await expect(world.with(vm(1))).rejects.toThrow('More cores: value 1 is lower than minimum [2]');
    await world.with(vm(2));
  });
});
