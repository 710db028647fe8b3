import { describe, expect, it } from 'vitest';
import { templateColumns } from './template-columns.ts';

/** What `kubectl get templates` shows of one, after its name. */
function cellsOfTemplate(fields: Record<string, unknown>, annotations: Record<string, string> = {}): readonly unknown[] {
  const template = { apiVersion: 'template.openshift.io/v1', kind: 'Template', metadata: { name: 'a', annotations }, ...fields };
  return templateColumns.map(({ cell }) => cell(template));
}

describe('the columns of Templates', () => {
  it('are those of OpenShift', () => {
    expect(templateColumns.map(({ name }) => name)).toEqual(['Description', 'Parameters', 'Objects']);
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
    expect(cellsOfTemplate(fields)[1]).toBe(text);
  });

  it('count objects', () => {
    expect(cellsOfTemplate({})[2]).toBe(0);
    expect(cellsOfTemplate({ objects: [{}, {}] })[2]).toBe(2);
  });

  it.each([
    ['nothing', undefined, ''],
    ['one line', 'Short', 'Short'],
    ['the first of several lines', 'First\nsecond', 'First...'],
    ['80 characters', 'x'.repeat(80), 'x'.repeat(80)],
    ['not more', 'x'.repeat(81), `${'x'.repeat(77)}...`],
    ['no spaces at its end', `${'x'.repeat(70)}         ${'y'.repeat(9)}`, `${'x'.repeat(70)}...`],
  ])('describe with %s', (_, description, text) => {
    expect(cellsOfTemplate({}, description === undefined ? {} : { description })[0]).toBe(text);
  });
});
