const MAX_PATTERN = 1000;

/** A pattern that the reference implementation's engine would take too. Throws Error for one it would not. */
export function safePattern(source: string): RegExp {
  const complaint = patternComplaint(source);
  if (complaint !== undefined) throw new Error(complaint);
  return new RegExp(source);
}

/** RE2 has no backreferences and no look-around; nested repetition is what makes a backtracking engine explode. */
export function patternComplaint(source: string): string | undefined {
  if (source.length > MAX_PATTERN) return `pattern exceeds ${MAX_PATTERN} characters`;
  if (/\\[1-9]|\(\?(?:[=!]|<[=!])|\\k</.test(source)) return 'invalid or unsupported Perl syntax in pattern';
  if (/\([^()]*[+*][^()]*\)[+*{]/.test(source)) return 'pattern repeats a repetition';
  try {
    new RegExp(source);
    return undefined;
  } catch {
    return 'error parsing regexp'; // RegExp throws SyntaxError only
  }
}
