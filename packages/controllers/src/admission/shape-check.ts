import { bundledCustomResourceDefinitions } from '@slipway/api';
import { type FieldError, isObject, StatusError, type StructuralSchema, type UnstructuredObject } from '@slipway/apimachinery';
import { validateValue } from '@slipway/schema';
import { coreEnumFaults } from './core-enums.ts';

/** Refuses an object that is not shaped like its kind, before anything reads it. */
export type ShapeCheck = (webhook: string, object: UnstructuredObject) => void;

const SHAPE_ERRORS = new Set(['Required', 'NotSupported', 'TypeInvalid']);
// These have a rule of their own with a clearer message.
const LEFT_TO_RULES = /\.kernelBoot\.container\.image$/;

// KubeVirt-compat: these messages name the path without list indexes, and their causes have no field of their own.
function messageOf({ type, path, detail }: FieldError): string {
  const plain = path.replace(/\[\d+\]/g, '');
  if (type === 'Required') return `${plain} in body is required`;
  if (type === 'TypeInvalid') return detail.replace(/^Invalid value: .*?: (?=\S+ in body)/, '').replace(path, plain);
  const supported = [...detail.matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? '').slice(1);
  return `${plain} in body should be one of [${supported.toSorted().join(' ')}]`;
}

function shapeFaults(object: UnstructuredObject, schema: StructuralSchema): readonly string[] {
  const { spec } = object;
  if (spec === undefined || spec === null) return ['spec in body is required', 'spec in body must be of type object: "null"'];
  const specSchema = schema.properties?.['spec'];
  if (!specSchema) return [];
  const faults = validateValue(spec, specSchema, ['spec'])
    .filter(({ type, path }) => SHAPE_ERRORS.has(type) && !LEFT_TO_RULES.test(path))
    .map(messageOf);
  const template = isObject(spec) && isObject(spec['template']) ? spec['template']['spec'] : undefined;
  return [...faults, ...coreEnumFaults('spec', spec), ...coreEnumFaults('spec.template.spec', template)];
}

/** Reads the bundled schemas when the first object arrives. */
export function createShapeCheck(): ShapeCheck {
  let schemas: ReadonlyMap<string, StructuralSchema> | undefined;
  const index = () =>
    new Map(
      bundledCustomResourceDefinitions().flatMap(({ spec }) =>
        spec.versions.flatMap(({ name, schema }): [string, StructuralSchema][] => {
          const root: unknown = schema?.openAPIV3Schema;
          return isObject(root) ? [[`${spec.group}/${name}/${spec.names.kind}`, root as StructuralSchema]] : []; // our own schema documents
        }),
      ),
    );
  return (webhook, object) => {
    schemas ??= index();
    const schema = schemas.get(`${object.apiVersion}/${object.kind}`);
    const faults = schema ? shapeFaults(object, schema) : [];
    if (faults.length === 0) return;
    throw new StatusError({
      code: 422,
      reason: 'Invalid',
      message: `admission webhook "${webhook}" denied the request: ${faults.join(', ')}`,
      details: { causes: faults.map((message) => ({ message })) },
    });
  };
}
