import { badRequest, yaml11 } from '@slipway/apimachinery';
import { CORE_SCHEMA, load as loadYaml, Type } from 'js-yaml';

/** Kubernetes reads YAML 1.1; times stay text. */
const SCHEMA = CORE_SCHEMA.extend({
  implicit: [new Type('tag:yaml.org,2002:bool', yaml11.bool), new Type('tag:yaml.org,2002:int', yaml11.int)],
});

/** Parses one YAML document the way Kubernetes does. Throws 400. */
export function parseYaml(text: string): unknown {
  try {
    return loadYaml(text, { schema: SCHEMA });
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
