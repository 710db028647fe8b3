/** One XML element as plain data. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly (XmlElement | string)[];
}

type AttributeValue = string | number | undefined;
type Child = XmlElement | string | undefined | false;

/** Builds an element; attributes that are undefined and children that are undefined or false are left out. */
export function el(
  name: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
  ...children: readonly (Child | readonly Child[])[]
): XmlElement {
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) kept[key] = String(value);
  return {
    name,
    attributes: kept,
    children: children.flat().filter((child): child is XmlElement | string => child !== undefined && child !== false),
  };
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\n': '&#10;',
  '\r': '&#13;',
  '\t': '&#9;',
};

/** Characters that XML 1.0 cannot hold, not even as a reference: most control characters, non-characters, lone surrogates. */
function isUnwritable(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return code !== 0x9 && code !== 0xa && code !== 0xd;
  return (code >= 0xd800 && code <= 0xdfff) || code === 0xfffe || code === 0xffff;
}

function escape(text: string): string {
  if (Array.from(text).some(isUnwritable))
    throw new Error(`Cannot write ${JSON.stringify(text)} as XML: it has a character that XML does not allow`);
  return text.replace(/[&<>"\n\r\t]/g, (character) => ENTITIES[character] ?? character);
}

/** Writes an element with two blanks per level. Throws for text that XML 1.0 cannot hold. */
export function renderXml(element: XmlElement, indent = ''): string {
  const attributes = Object.entries(element.attributes).map(([key, value]) => ` ${key}="${escape(value)}"`);
  const open = `${indent}<${element.name}${attributes.join('')}`;
  if (element.children.length === 0) return `${open}/>`;
  const texts = element.children.filter((child) => typeof child === 'string');
  if (texts.length > 0) return `${open}>${escape(texts.join(''))}</${element.name}>`;
  const inner = element.children.map((child) => (typeof child === 'string' ? '' : renderXml(child, `${indent}  `)));
  return `${open}>\n${inner.join('\n')}\n${indent}</${element.name}>`;
}
