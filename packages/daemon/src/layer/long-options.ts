/** Terraform writes `-var-file FILE` with one dash, which is a row of short options elsewhere. Pure. */
export const withLongOptions = (argv: readonly string[]): string[] =>
  argv[0] === 'layer' ? argv.map((word) => (/^-var-file(?:=|$)/.test(word) ? `-${word}` : word)) : [...argv];
