import { describe, expect, it, vi } from 'vitest';
import {
  DATA_CASES,
  DATE_CASES,
  DICT_CASES,
  HELM_CASES,
  LIST_CASES,
  MATH_CASES,
  MISC_CASES,
  PRINTF_CASES,
  STRING_CASES,
  TYPE_CASES,
} from './cases-functions.ts';
import { LANGUAGE_CASES } from './cases-language.ts';
import { renderCase } from './render-case.ts';

// some cases run into the limits of a rendering, which takes seconds
vi.setConfig({ testTimeout: 120_000 });

const TABLES = {
  language: LANGUAGE_CASES,
  printf: PRINTF_CASES,
  strings: STRING_CASES,
  math: MATH_CASES,
  lists: LIST_CASES,
  dicts: DICT_CASES,
  types: TYPE_CASES,
  data: DATA_CASES,
  dates: DATE_CASES,
  misc: MISC_CASES,
  helm: HELM_CASES,
};

describe.each(Object.entries(TABLES))('%s', (_name, cases) => {
  it.each([...cases])('%s', async (source, expected) => {
    expect(await renderCase(source)).toBe(expected);
  });
});

it('has at least 400 cases', () => {
  expect(Object.values(TABLES).flat().length).toBeGreaterThanOrEqual(400);
});
