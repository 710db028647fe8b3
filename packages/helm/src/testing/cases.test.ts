import { expect, it } from 'vitest';
import { LANGUAGE_CASES } from './cases-language.ts';
import { renderCase } from './render-case.ts';

it.each([...LANGUAGE_CASES])('%s', (source, expected) => {
  expect(renderCase(source)).toBe(expected);
});
