import { bundledCustomResourceDefinitions } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { tableOf } from '../table/table.ts';
import type { Crd } from './crd-types.ts';
import { definitionsOf } from './custom-resource.ts';

const crd = bundledCustomResourceDefinitions().find(({ spec }) => spec.group === 'template.openshift.io') as unknown as Crd;

/** What `kubectl get templates` shows of one. */
function tableOfTemplate(fields: Record<string, unknown>, annotations: Record<string, string> = {}, definedBy = crd) {
  const [definition] = definitionsOf(definedBy);
  if (definition === undefined) throw new Error('no definition');
  const object = { apiVersion: 'template.openshift.io/v1', kind: 'Template', metadata: { name: 'a', annotations }, ...fields };
  const options = { apiVersion: 'meta.k8s.io/v1', includeObject: 'None', nowMs: 0, resourceVersion: '' };
  const { columnDefinitions, rows } = tableOf(definition, [{ object }], options);
  return { columns: columnDefinitions.map(({ name }) => name), cells: rows[0]?.['cells'] as unknown[] };
}

describe('the columns of Templates', () => {
  it('are those of OpenShift', () => {
    expect(tableOfTemplate({}).columns).toEqual(['Name', 'Description', 'Parameters', 'Objects']);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['none', {}, '0 (all set)'],
    ['with values', { parameters: [{ name: 'A', value: '1' }] }, '1 (all set)'],
    [
      'generated',
      {
        parameters: [
          { name: 'A', value: '1' },
          { name: 'B', generate: 'expression' },
        ],
      },
      '2 (1 generated)',
    ],
    ['blank', { parameters: [{ name: 'A' }, { name: 'B', generate: 'expression' }, { name: 'C', value: '' }] }, '3 (2 blank)'],
  ])('count parameters: %s', (_, fields, text) => {
    expect(tableOfTemplate(fields).cells[2]).toBe(text);
  });

  it('count objects', () => {
    expect(tableOfTemplate({}).cells[3]).toBe(0);
    expect(tableOfTemplate({ objects: [{}, {}] }).cells[3]).toBe(2);
  });

  it.each([
    ['nothing', undefined, ''],
    ['one line', 'Short', 'Short'],
    ['the first of several lines', 'First\nsecond', 'First...'],
    ['80 characters', 'x'.repeat(80), 'x'.repeat(80)],
    ['not more', 'x'.repeat(81), `${'x'.repeat(77)}...`],
    ['no spaces at its end', `${'x'.repeat(70)}         ${'y'.repeat(9)}`, `${'x'.repeat(70)}...`],
  ])('describe with %s', (_, description, text) => {
    expect(tableOfTemplate({}, description === undefined ? {} : { description }).cells[1]).toBe(text);
  });

  it('are those of a definition that names some', () => {
    const [version] = crd.spec.versions;
    if (version === undefined) throw new Error('no version');
    const additionalPrinterColumns = [{ name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }];
    const own: Crd = { ...crd, spec: { ...crd.spec, versions: [{ ...version, additionalPrinterColumns }] } };
    expect(tableOfTemplate({}, {}, own).columns).toEqual(['Name', 'Age']);
  });
});
