import { readFileSync } from 'node:fs';
import { parseYaml } from '@slipway/cli';
import { UserError } from '../report-failure.ts';

/** An object with the member, or without it where there is no value. */
export const optional = <N extends string, T>(name: N, value: T | undefined): { [name in N]?: T } =>
  (value === undefined ? {} : { [name]: value }) as { [name in N]?: T }; // computed names lose their type

/** The text of a file that an option names. Throws UserError. */
export function textOfFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The content of a YAML file that an option names; an empty name takes an earlier one back. Throws UserError. */
export function yamlOfFile(path: string): unknown {
  if (path === '') return undefined;
  const text = textOfFile(path);
  try {
    return parseYaml(text);
  } catch (error) {
    throw new UserError(`${path} is no YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}
