export type { SchemaType, StructuralSchema, ValidationRule } from '@slipway/apimachinery';
export { applyDefaults, dropNulls } from './default.ts';
export { isCidr, isFormatValid, isUri } from './formats.ts';
export { validateListTypes } from './list-types.ts';
export { metadataTypeComplaint } from './metadata-types.ts';
export { objectMetaSchema, withTypeAndObjectMeta } from './object-meta-schema.ts';
export { patternOf } from './patterns/pattern.ts';
export { prune, type PruneOptions, type PruneResult } from './prune.ts';
export { ratchetErrors } from './ratchet.ts';
export { validateStructuralSchema } from './structural.ts';
export { typeName, validateValue } from './validate.ts';
export { validateRuleSources } from './cel/validate-rule-sources.ts';
export { validateRules } from './cel/validate-rules.ts';
export {
  type CompiledExpression,
  type ExpressionCompilation,
  compileExpression,
  toCel,
  typeComplaint,
} from './cel/expression.ts';
export { type AuthorizerAnswer, type AuthorizerQuestion, authorizerVariable } from './cel/library/authorizer.ts';
export { type Budget, CostExceeded } from './cel/meter.ts';
export { isDeclarableName } from './cel/values.ts';
export { firstLine as celErrorText } from './cel/environment.ts';
