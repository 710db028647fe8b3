const TRUE = /^(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const FALSE = /^(?:n|N|no|No|NO|false|False|FALSE|off|Off|OFF)$/;
const INTEGER = /^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|(?:0|[1-9][0-9_]*))$/;

/** Scalars of YAML 1.1, as Kubernetes and Helm read them, for the types of a parser. */
export const yaml11 = {
  /** `yes`, `on` and `y` are booleans, too. */
  bool: {
    kind: 'scalar',
    resolve: (text: unknown): boolean => typeof text === 'string' && (TRUE.test(text) || FALSE.test(text)),
    construct: (text: string): boolean => TRUE.test(text),
  },
  /** A leading zero means octal. */
  int: {
    kind: 'scalar',
    resolve: (text: unknown): boolean => typeof text === 'string' && INTEGER.test(text),
    construct: integerOf,
  },
} as const;

function integerOf(text: string): number {
  const digits = text.replaceAll('_', '');
  const sign = digits.startsWith('-') ? -1 : 1;
  const bare = digits.replace(/^[-+]/, '');
  if (/^0[box]/.test(bare)) return sign * Number(bare);
  return sign * (bare.length > 1 && bare.startsWith('0') ? Number.parseInt(bare, 8) : Number(bare));
}
