import { int64, type GoList, type GoMap, isList, isMap, type Value } from '../template/values.ts';
import { ChartError } from './chart.ts';

const MAX_INDEX = 65_536;
const MAX_NESTING = 30;

/** How the right side of `key=value` is read. */
export type Assign = (text: string) => Value;

/** `--set`: numbers, booleans and null are recognised. */
export function typedValue(text: string): Value {
  if (text === 'true' || text === 'false') return text === 'true';
  if (text === 'null') return null;
  // a leading zero means text, as for phone numbers and file modes
  if (text === '0' || /^-?[1-9]\d*$/.test(text)) {
    const whole = BigInt(text);
    if (BigInt.asIntN(64, whole) === whole) return int64(whole);
  }
  return text;
}

/** `--set-string`. */
export const textValue: Assign = (text) => text;

/** Applies `a.b=1,c[0]=x,d={x,y}` to the values. */
export function setValues(values: GoMap, line: string, assign: Assign = typedValue): void {
  new SetParser(line, assign).parse(values);
}

/** `--set-literal`: everything after the first equals sign is the text. */
export function setLiteral(values: GoMap, line: string): void {
  const at = line.indexOf('=');
  if (at === -1) throw new ChartError(`failed parsing --set-literal data: key "${line}" has no value`);
  new SetParser(`${line.slice(0, at)}=`, () => line.slice(at + 1)).parse(values);
}

/** `--set-json`: values are JSON; or the whole is one object. */
export function setJson(
  values: GoMap,
  line: string,
  read: (json: string) => Value,
  merge: (values: GoMap, over: GoMap) => void,
): void {
  if (line.trim().startsWith('{')) {
    const over = read(line);
    if (isMap(over)) merge(values, over);
    return;
  }
  const at = line.indexOf('=');
  if (at === -1) throw new ChartError(`failed parsing --set-json data ${line}: key has no value`);
  new SetParser(`${line.slice(0, at)}=`, () => read(line.slice(at + 1))).parse(values);
}

class SetParser {
  private at = 0;
  private readonly line: string;
  private readonly assign: Assign;

  constructor(line: string, assign: Assign) {
    this.line = line;
    this.assign = assign;
  }

  parse(values: GoMap): void {
    while (this.at < this.line.length) this.key(values, 0);
  }

  /** Text up to one of the stops, with escapes resolved; and the stop. */
  private upTo(stops: string): { text: string; stop: string } {
    let text = '';
    for (; this.at < this.line.length; this.at++) {
      const char = this.line.charAt(this.at);
      if (char === '\\' && this.at + 1 < this.line.length) text += this.line.charAt(++this.at);
      else if (stops.includes(char)) {
        this.at++;
        return { text, stop: char };
      } else text += char;
    }
    return { text, stop: '' };
  }

  private fail(message: string): never {
    throw new ChartError(`failed parsing --set data: ${message}`);
  }

  private key(map: GoMap, depth: number): void {
    if (depth > MAX_NESTING)
      this.fail(`value name nested level is greater than maximum supported nested level of ${MAX_NESTING}`);
    const { text, stop } = this.upTo('.[=,');
    if (stop === '') {
      if (text !== '') this.fail(`key "${text}" has no value`);
      return;
    }
    if (stop === ',') this.fail(`key "${text}" has no value (cannot end with ,)`);
    if (stop === '=') map.set(text, this.value());
    else if (stop === '[') {
      const old = map.get(text);
      map.set(text, this.item(isList(old) ? [...old] : [], depth + 1));
    } else {
      const old = map.get(text);
      const inner: GoMap = isMap(old) ? old : new Map();
      this.key(inner, depth + 1);
      map.set(text, inner);
    }
  }

  private item(list: GoList, depth: number): GoList {
    const { text, stop } = this.upTo(']');
    const index = Number(text);
    if (stop === '' || !/^\d+$/.test(text)) this.fail(`error parsing index: "${text}"`);
    if (index > MAX_INDEX) this.fail(`index of ${index} is greater than maximum supported index of ${MAX_INDEX}`);
    while (list.length <= index) list.push(null);
    const next = this.line.charAt(this.at++);
    const old = list[index];
    if (next === '=') list[index] = this.value();
    else if (next === '[') list[index] = this.item(isList(old) ? [...old] : [], depth + 1);
    else if (next === '.') {
      const inner: GoMap = isMap(old) ? old : new Map();
      this.key(inner, depth + 1);
      list[index] = inner;
    } else this.fail('unexpected data at end of array index');
    return list;
  }

  private value(): Value {
    if (this.line[this.at] !== '{') return this.assign(this.upTo(',').text);
    this.at++;
    const items: GoList = [];
    for (;;) {
      const { text, stop } = this.upTo(',}');
      if (stop === '') this.fail("list must terminate with '}'");
      if (text !== '' || stop === ',' || items.length > 0) items.push(this.assign(text));
      if (stop === '}') break;
    }
    if (this.line[this.at] === ',') this.at++;
    return items;
  }
}
