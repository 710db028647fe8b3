import { badRequest } from '@slipway/apimachinery';
import { CORE_SCHEMA, Type, load as loadYaml } from 'js-yaml';

const TRUE = /^(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const FALSE = /^(?:n|N|no|No|NO|false|False|FALSE|off|Off|OFF)$/;
const INTEGER = /^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|(?:0|[1-9][0-9_]*))$/;

/** Kubernetes reads YAML 1.1: `yes`, `on` and `y` are booleans, a leading zero means octal; times stay text. */
const bool = new Type('tag:yaml.org,2002:bool', {
  kind: 'scalar',
  resolve: (text: unknown) => typeof text === 'string' && (TRUE.test(text) || FALSE.test(text)),
  construct: (text: string) => TRUE.test(text),
});

const int = new Type('tag:yaml.org,2002:int', {
  kind: 'scalar',
  resolve: (text: unknown) => typeof text === 'string' && INTEGER.test(text),
  construct: integerOf,
});

const SCHEMA = CORE_SCHEMA.extend({ implicit: [bool, int] });

function integerOf(text: string): number {
  const digits = text.replaceAll('_', '');
  const sign = digits.startsWith('-') ? -1 : 1;
  const bare = digits.replace(/^[-+]/, '');
  if (/^0[box]/.test(bare)) return sign * Number(bare);
  return sign * (bare.length > 1 && bare.startsWith('0') ? Number.parseInt(bare, 8) : Number(bare));
}

/** Parses one YAML document the way Kubernetes does. Throws 400. */
export function parseYaml(text: string): unknown {
  try {
    return loadYaml(text, { schema: SCHEMA });
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
