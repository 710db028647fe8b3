import type { FunctionTable } from '../template/functions.ts';
import { builtins } from '../template/builtins.ts';
import { certificateFunctions } from './certificates.ts';
import type { FunctionSources } from './context.ts';
import { cryptoFunctions } from './crypto.ts';
import { dateFunctions } from './dates.ts';
import { dictFunctions } from './dicts.ts';
import { encodingFunctions } from './encoding.ts';
import { listFunctions } from './lists.ts';
import { mathFunctions } from './math.ts';
import { regexFunctions } from './regex.ts';
import { semverFunctions } from './semver.ts';
import { stringFunctions } from './strings.ts';
import { typeFunctions } from './types.ts';
import { pathFunctions } from './urls.ts';

/** Go's own functions and all of Sprig that Helm keeps: `env` and `expandenv` do not exist. */
export function sprigFunctions(sources: FunctionSources): FunctionTable {
  return {
    ...builtins(sources.budget),
    ...stringFunctions(sources),
    ...mathFunctions(sources),
    ...listFunctions(sources),
    ...dictFunctions(sources),
    ...typeFunctions(sources),
    ...encodingFunctions(sources),
    ...regexFunctions(sources),
    ...dateFunctions(sources),
    ...semverFunctions(),
    ...pathFunctions(),
    ...cryptoFunctions(sources),
    ...certificateFunctions(sources),
  };
}
