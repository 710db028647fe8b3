/** An element of a document that libvirt wrote. */
export interface XmlNode {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlNode[];
  /** Text directly inside. */
  readonly text: string;
}

interface OpenNode {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: XmlNode[];
  text: string;
}

const TOKEN = /<(\/?)([\w:.-]+)((?:\s+[\w:.-]+=(?:'[^']*'|"[^"]*"))*)\s*(\/?)>|<[!?][^>]*>|([^<]+)/g;
const ATTRIBUTE = /([\w:.-]+)=(?:'([^']*)'|"([^"]*)")/g;
const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** More than any domain has; the daemon shares its user with QEMU, so that what it writes may be hostile. */
const MAX_NODES = 20_000;
const MAX_DEPTH = 64;

/** Reads libvirt's output; enough of XML for that: no CDATA, no document types. Throws when it is cut off or too large. */
export function parseXml(document: string): XmlNode {
  const root: OpenNode = { name: '', attributes: {}, children: [], text: '' };
  const open: OpenNode[] = [root];
  let nodes = 0;
  for (const [, closing, name, attributes = '', empty, text] of document.matchAll(TOKEN)) {
    const current = open.at(-1) ?? root;
    if (text !== undefined) current.text += decoded(text);
    if (name === undefined) continue;
    if (closing === '/') {
      if (open.length === 1 || current.name !== name) throw new Error(`Unexpected </${name}> in a document of libvirt`);
      open.pop();
      continue;
    }
    const node: OpenNode = { name, attributes: attributesOf(attributes), children: [], text: '' };
    current.children.push(node);
    if (++nodes > MAX_NODES || open.length > MAX_DEPTH) throw new Error('A document of libvirt is too large');
    if (empty !== '/') open.push(node);
  }
  const [first] = root.children;
  if (first === undefined || open.length > 1) throw new Error('A document of libvirt ends too early');
  return first;
}

function attributesOf(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [, name = '', single, double] of text.matchAll(ATTRIBUTE)) found[name] = decoded(single ?? double ?? '');
  return found;
}

function decoded(text: string): string {
  return text.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return ENTITIES[name] ?? whole;
  });
}

/** First child with this name. */
export function child(node: XmlNode | undefined, name: string): XmlNode | undefined {
  return node?.children.find((entry) => entry.name === name);
}

/** Children with this name. */
export function children(node: XmlNode | undefined, name: string): readonly XmlNode[] {
  return (node?.children ?? []).filter((entry) => entry.name === name);
}
