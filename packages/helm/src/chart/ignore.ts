import { globTest } from './glob.ts';

interface Rule {
  readonly isNegated: boolean;
  readonly isDirectory: boolean;
  readonly matches: (path: string) => boolean;
}

/** A test for files that `.helmignore` and Helm itself leave out. */
export function ignoreTest(rules: string): (path: string) => boolean {
  const parsed = ['templates/.?*', ...rules.split(/\r?\n/)].map(parseRule).filter((rule) => rule !== undefined);
  const isIgnored = (path: string, isDirectory: boolean): boolean =>
    parsed.some((rule) =>
      rule.isNegated
        ? !rule.matches(path) && (!rule.isDirectory || isDirectory)
        : (!rule.isDirectory || isDirectory) && rule.matches(path),
    );
  return (path) => {
    const parts = path.split('/');
    // a directory that is left out takes along what is in it
    return parts.some((_part, index) => isIgnored(parts.slice(0, index + 1).join('/'), index < parts.length - 1));
  };
}

function parseRule(line: string): Rule | undefined {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  const isNegated = text.startsWith('!');
  let pattern = isNegated ? text.slice(1) : text;
  const isDirectory = pattern.endsWith('/');
  if (isDirectory) pattern = pattern.slice(0, -1);
  const isRooted = pattern.startsWith('/');
  const test = globTest(isRooted ? pattern.slice(1) : pattern);
  if (test === undefined || pattern.includes('**')) return undefined;
  const isPath = isRooted || pattern.includes('/');
  return { isNegated, isDirectory, matches: (path) => test(isPath ? path : path.slice(path.lastIndexOf('/') + 1)) };
}
