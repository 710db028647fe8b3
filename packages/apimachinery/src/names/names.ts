/** Name rules. Each check returns the API server's complaints; an empty list means valid. */
export type NameCheck = (value: string) => string[];

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const LABEL_1035 = '[a-z]([-a-z0-9]*[a-z0-9])?';
const QUALIFIED = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const LABEL_VALUE = `(${QUALIFIED})?`;
const CONFIG_KEY = '[-._a-zA-Z0-9]+';
const PATH_SEGMENT_NAMES = new Set(['.', '..']);

const whole = (pattern: string): RegExp => new RegExp(`^${pattern}$`);
const LABEL_RE = whole(LABEL);
const SUBDOMAIN_RE = whole(SUBDOMAIN);
const LABEL_1035_RE = whole(LABEL_1035);
const QUALIFIED_RE = whole(QUALIFIED);
const LABEL_VALUE_RE = whole(LABEL_VALUE);
const CONFIG_KEY_RE = whole(CONFIG_KEY);
const HTTP_HEADER_RE = /^[-A-Za-z0-9]+$/;
const ENV_NAME = '[-._a-zA-Z][-._a-zA-Z0-9]*';
const ENV_NAME_RE = whole(ENV_NAME);

const tooLongText = (max: number): string => `must be no more than ${max} characters`;

function regexText(text: string, pattern: string, ...examples: string[]): string {
  return `${text} (e.g. ${examples.map((example) => `'${example}'`).join(',  or ')}, regex used for validation is '${pattern}')`;
}

const LABEL_TEXT = regexText(
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  LABEL,
  'my-name',
  '123-abc',
);
const SUBDOMAIN_TEXT = regexText(
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  SUBDOMAIN,
  'example.com',
);
const LABEL_1035_TEXT = regexText(
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  LABEL_1035,
  'my-name',
  'abc-123',
);
const NAME_PART =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const NAME_PART_TEXT = regexText(NAME_PART, QUALIFIED, 'MyName', 'my.name', '123-abc');
const QUALIFIED_TEXT = `${regexText(`a qualified name ${NAME_PART}`, QUALIFIED, 'MyName', 'my.name', '123-abc')} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`;
const LABEL_VALUE_TEXT = regexText(
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  LABEL_VALUE,
  'MyValue',
  'my_value',
  '12345',
);
const CONFIG_KEY_TEXT = regexText(
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
  CONFIG_KEY,
  'key.name',
  'KEY_NAME',
  'key-name',
);
const ENV_NAME_TEXT = regexText(
  "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
  ENV_NAME,
  'my.env-name',
  'MY_ENV.NAME',
  'MyEnvName1',
);

function check(value: string, max: number, pattern: RegExp, text: string): string[] {
  const complaints: string[] = [];
  if (value.length > max) complaints.push(tooLongText(max));
  if (!pattern.test(value)) complaints.push(text);
  return complaints;
}

/** `my-name`: at most 63 characters. */
export const checkDns1123Label: NameCheck = (value) => check(value, 63, LABEL_RE, LABEL_TEXT);
/** `my.name`: at most 253 characters; most object names. */
export const checkDns1123Subdomain: NameCheck = (value) => check(value, 253, SUBDOMAIN_RE, SUBDOMAIN_TEXT);
/** Service names: must start with a letter. */
export const checkDns1035Label: NameCheck = (value) => check(value, 63, LABEL_1035_RE, LABEL_1035_TEXT);
export const checkLabelValue: NameCheck = (value) => check(value, 63, LABEL_VALUE_RE, LABEL_VALUE_TEXT);

/** Keys of ConfigMaps and Secrets. */
export const checkConfigMapKey: NameCheck = (value) => {
  const complaints = check(value, 253, CONFIG_KEY_RE, CONFIG_KEY_TEXT);
  if (value === '.') complaints.push("must not be '.'");
  else if (value === '..') complaints.push("must not be '..'");
  else if (value.startsWith('..')) complaints.push("must not start with '..'");
  return complaints;
};

export const checkEnvVarName: NameCheck = (value) => {
  const complaints = ENV_NAME_RE.test(value) ? [] : [ENV_NAME_TEXT];
  if (value === '.') complaints.push("must not be '.'");
  else if (value === '..') complaints.push("must not be '..'");
  else if (value.startsWith('..')) complaints.push("must not start with '..'");
  return complaints;
};

export const checkHttpHeaderName: NameCheck = (value) =>
  HTTP_HEADER_RE.test(value)
    ? []
    : [regexText("a valid HTTP header must consist of alphanumeric characters or '-'", '[-A-Za-z0-9]+', 'X-Header-Name')];

/** RBAC names: anything that can be one path segment. */
export const checkPathSegment: NameCheck = (value) => {
  if (PATH_SEGMENT_NAMES.has(value)) return [`may not be '${value}'`];
  return ['/', '%'].filter((part) => value.includes(part)).map((part) => `may not contain '${part}'`);
};

/** Label keys, annotation keys, resource names: `[prefix/]name`. */
export const checkQualifiedName: NameCheck = (value) => {
  const parts = value.split('/');
  if (parts.length > 2) return [QUALIFIED_TEXT];
  const complaints: string[] = [];
  const [first = '', second] = parts;
  if (second !== undefined) {
    if (first === '') complaints.push('prefix part must be non-empty');
    else complaints.push(...checkDns1123Subdomain(first).map((text) => `prefix part ${text}`));
  }
  const name = second ?? first;
  if (name === '') complaints.push('name part must be non-empty');
  else if (name.length > 63) complaints.push(`name part ${tooLongText(63)}`);
  if (!QUALIFIED_RE.test(name)) complaints.push(`name part ${NAME_PART_TEXT}`);
  return complaints;
};

/** Port names: IANA service names. */
export const checkPortName: NameCheck = (value) => {
  const complaints: string[] = [];
  if (value.length > 15) complaints.push(tooLongText(15));
  if (!/^[-a-z0-9]+$/.test(value)) complaints.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(value)) complaints.push('must contain at least one letter (a-z)');
  if (value.includes('--')) complaints.push('must not contain consecutive hyphens');
  if (value.startsWith('-') || value.endsWith('-')) complaints.push('must not begin or end with a hyphen');
  return complaints;
};

/** What a generateName prefix is checked against: a trailing dash will be followed by more. */
export function maskTrailingDash(prefix: string): string {
  return prefix.length > 1 && prefix.endsWith('-') ? `${prefix.slice(0, -2)}a` : prefix;
}

export const checkPortNumber = (port: number): string[] =>
  Number.isInteger(port) && port >= 1 && port <= 65535 ? [] : ['must be between 1 and 65535, inclusive'];
