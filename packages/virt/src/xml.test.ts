import { describe, expect, it } from 'vitest';
import { el, renderXml } from './xml.ts';

describe('renderXml', () => {
  it('escapes text and attributes so that nothing can leave its place', () => {
    const element = el('a', { b: '"><script x=\'1\n' }, '</a> & ]]>');
    expect(renderXml(element)).toBe('<a b="&quot;&gt;&lt;script x=\'1&#10;">&lt;/a&gt; &amp; ]]&gt;</a>');
  });

  it.each(['\u0000', '\u0008', '\uffff', '\ud800'])('refuses %j, which XML cannot hold', (text) => {
    expect(() => renderXml(el('a', {}, text))).toThrow(/does not allow/);
  });

  it('leaves undefined attributes and children out', () => {
    expect(renderXml(el('a', { b: undefined, c: 0 }, undefined, false))).toBe('<a c="0"/>');
  });
});
