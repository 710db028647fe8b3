import type { Environment } from '@marcbachmann/cel-js';
import { registerAuthorizer } from './authorizer.ts';
import { registerComprehensions } from './comprehensions.ts';
import { registerConversions } from './conversions.ts';
import { registerFormats } from './formats.ts';
import { registerLists } from './lists.ts';
import { registerMath } from './math.ts';
import { registerAddresses } from './addresses.ts';
import { registerOptionals } from './optionals.ts';
import { registerQuantities } from './quantities.ts';
import { registrar } from './register.ts';
import { registerSemver } from './semver.ts';
import { registerStrings } from './strings.ts';
import { registerUrls } from './urls.ts';

/** Adds the functions that Kubernetes offers beyond the language itself. */
export function registerLibrary(env: Environment): void {
  const add = registrar(env);
  registerStrings(add);
  registerLists(add);
  registerConversions(add);
  registerQuantities(add);
  registerUrls(add);
  registerAddresses(add);
  registerFormats(add);
  registerMath(add);
  registerSemver(add);
  registerOptionals(add);
  registerComprehensions(add);
  registerAuthorizer(env);
}
