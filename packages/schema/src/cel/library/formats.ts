import { Optional } from '@marcbachmann/cel-js';
import {
  checkDns1035Label,
  checkDns1123Label,
  checkDns1123Subdomain,
  checkLabelValue,
  checkQualifiedName,
} from '@slipway/apimachinery';
import { isFormatValid } from '../../formats.ts';
import type { Registrar } from './register.ts';
import { parseUrl } from './urls.ts';

type Check = (text: string) => readonly string[];

class Format {
  readonly name: string;
  readonly check: Check;
  constructor(name: string, check: Check) {
    this.name = name;
    this.check = check;
  }
  equals(other: unknown): boolean {
    return other instanceof Format && this.name === other.name;
  }
}

/** The beginning of a name may end in a dash. */
const prefixOf =
  (check: Check): Check =>
  (text) =>
    check(text.endsWith('-') ? `${text.slice(0, -1)}a` : text);

const named =
  (format: string, complaint: string): Check =>
  (text) =>
    isFormatValid(format, text) ? [] : [complaint];

const FORMATS: Readonly<Record<string, Check>> = {
  dns1123Label: checkDns1123Label,
  dns1123Subdomain: checkDns1123Subdomain,
  dns1035Label: checkDns1035Label,
  qualifiedName: checkQualifiedName,
  dns1123LabelPrefix: prefixOf(checkDns1123Label),
  dns1123SubdomainPrefix: prefixOf(checkDns1123Subdomain),
  dns1035LabelPrefix: prefixOf(checkDns1035Label),
  labelValue: checkLabelValue,
  uri: (text) => (parseUrl(text) === undefined ? [`parse ${JSON.stringify(text)}: invalid URI for request`] : []),
  uuid: named('uuid', 'does not match the UUID format'),
  byte: named('byte', 'invalid base64'),
  date: named('date', 'invalid date'),
  datetime: named('date-time', 'invalid datetime'),
};

/** `format.named('dns1123Label')` and a function for each: `format.dns1123Label().validate(text)`. */
export function registerFormats({ on, type, namespace }: Registrar): void {
  const name = 'kubernetes.NamedFormat';
  type(name, Format, (a, b) => a.equals(b));
  const format = namespace('format');
  for (const [key, check] of Object.entries(FORMATS)) {
    const value = new Format(key, check);
    on(`${format}.${key}(): ${name}`, () => value);
  }
  on(`${format}.named(string): optional<${name}>`, (_format: unknown, key: string) =>
    Object.hasOwn(FORMATS, key) ? Optional.of(new Format(key, FORMATS[key] as Check)) : Optional.none(),
  );
  on(`${name}.validate(string): optional<list<string>>`, ({ check }: Format, text: string) => {
    const complaints = check(text);
    return complaints.length === 0 ? Optional.none() : Optional.of([...complaints]);
  });
}
