import { parseJsonPath } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import { bundledCustomResourceDefinitions } from './index.ts';

describe('bundledCustomResourceDefinitions', () => {
  const definitions = bundledCustomResourceDefinitions();

  it('has each name once, named plural.group', () => {
    const names = definitions.map((crd) => crd.metadata.name);
    expect(new Set(names).size).toBe(names.length);
    for (const { metadata, spec } of definitions) expect(metadata.name).toBe(`${spec.names.plural}.${spec.group}`);
  });

  it.each(definitions.map((crd) => [crd.metadata.name ?? '', crd] as const))(
    '%s stores one version and its columns parse',
    (_name, crd) => {
      expect(crd.spec.versions.filter((version) => version.storage)).toHaveLength(1);
      for (const column of crd.spec.versions.flatMap((version) => version.additionalPrinterColumns ?? [])) {
        expect(() => parseJsonPath(column.jsonPath)).not.toThrow();
        expect(['string', 'integer', 'number', 'boolean', 'date']).toContain(column.type);
      }
    },
  );

  it('carries the constraints of the reference tables', () => {
    const vm = definitions.find((crd) => crd.spec.names.kind === 'VirtualMachine');
    const schema = vm?.spec.versions[0]?.schema?.openAPIV3Schema;
    const template = {
      metadata: { 'x-kubernetes-preserve-unknown-fields': true },
      spec: { properties: { volumes: { type: 'array', maxItems: 256 } } },
    };
    expect(schema?.properties).toMatchObject({
      spec: { properties: { template: { properties: template } } },
      status: { properties: { printableStatus: { default: 'Stopped' } } },
    });
  });
});
