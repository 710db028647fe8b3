// Generates packages/api/schemas/builtin.json: field names, types and list semantics of the kinds Kubernetes 1.26 serves.
// Usage: node tools/generate-builtin-schemas.mjs DIR
//   DIR holds the unpacked npm packages `kubernetes-models@4.3.1` (as models/) and
//   `@kubernetes-models/apimachinery@1.2.1` (as apimachinery/), whose JSON schemas are read as data.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIST_TABLE, MAP_ATOMIC, MAP_FIELDS_ATOMIC } from './builtin-list-types.mjs';

const [dir] = process.argv.slice(2);
if (!dir) throw new Error('Give the directory with the unpacked packages');

const SERVED =
  /^io\.k8s\.(api\.(core\.v1|apps\.v1|batch\.v1|autoscaling\.v[12]|networking\.v1|policy\.v1|rbac\.v1|storage\.v1|storage\.v1beta1|scheduling\.v1|coordination\.v1|discovery\.v1|events\.v1|node\.v1|certificates\.v1|admissionregistration\.v1|authentication\.v1|authorization\.v1|flowcontrol\.v1beta[23])|apiextensions-apiserver\.pkg\.apis\.apiextensions\.v1|kube-aggregator\.pkg\.apis\.apiregistration\.v1)\.[A-Z]/;
// Fields of later releases or of features that are off in 1.26
const DROPPED = new Set([
  'core.v1.PodSpec.resourceClaims',
  'core.v1.PodSpec.schedulingGates',
  'core.v1.PodStatus.resourceClaimStatuses',
]);

// The packages drop every key `description`, also where it names a field
const WITH_DESCRIPTION = ['apiextensions.v1.CustomResourceColumnDefinition', 'scheduling.v1.PriorityClass'];

const schemas = new Map();
for (const folder of ['models', 'apimachinery']) {
  const path = join(dir, folder, '_schemas');
  for (const file of readdirSync(path).filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(join(path, file), 'utf8');
    const body = text.match(/const schema = ([\s\S]*?\n\}|\{\}|\{[^\n]*\});\nfunction/);
    const id = text.match(/register\)\("([^"]+)", schema\)/)?.[1];
    if (body && id) schemas.set(id, JSON.parse(body[1]));
  }
}

const shortOf = (id) =>
  id
    .replace(/#$/, '')
    .replace('io.k8s.apimachinery.pkg.apis.', '')
    .replace('io.k8s.apiextensions-apiserver.pkg.apis.', '')
    .replace('io.k8s.kube-aggregator.pkg.apis.', '')
    .replace('io.k8s.api.', '');

const LEAVES = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': 'quantity',
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': 'int-or-string',
  'meta.v1.Time': 'time',
  'meta.v1.MicroTime': 'micro-time',
  'meta.v1.FieldsV1': 'object',
  'io.k8s.apimachinery.pkg.runtime.RawExtension': 'object',
  'apiextensions.v1.JSONSchemaProps': 'object',
  'apiextensions.v1.JSON': 'any',
};

const definitions = {};

function referenceOf(id) {
  const short = shortOf(id);
  if (LEAVES[short]) return LEAVES[short];
  if (!definitions[short]) {
    definitions[short] = {}; // guards against recursion
    const schema = schemas.get(id.replace(/#$/, ''));
    if (!schema) throw new Error(`No schema for ${id}`);
    definitions[short] = compact(schema, short);
  }
  return `#${short}`;
}

function compact(schema, path) {
  if (schema.$ref) return referenceOf(schema.$ref);
  const choice = (schema.oneOf ?? schema.anyOf)?.find((branch) => branch.type !== 'null');
  if (choice && !schema.properties) return compact(choice, path);
  if (schema.type === 'array') return { t: 'array', i: compact(schema.items, `${path}[]`), ...LIST_TABLE[path] };
  if (schema.additionalProperties) {
    const node = { t: 'map', v: compact(schema.additionalProperties, `${path}{}`) };
    return MAP_FIELDS_ATOMIC.has(path) ? { ...node, mapType: 'atomic' } : node;
  }
  if (schema.properties) return compactObject(schema, path);
  return schema.type === 'object' || schema.type === undefined ? 'object' : scalar(schema);
}

function scalar({ type, format }) {
  if (format === 'date-time') return 'time';
  if (format === 'int-or-string') return 'int-or-string';
  return format ? { t: type, format } : type;
}

function compactObject(schema, path) {
  const node = { t: 'object', ...(schema.required?.length && { required: schema.required }), f: {} };
  for (const [name, field] of Object.entries(schema.properties)) {
    const place = `${path}.${name}`;
    if (!DROPPED.has(place)) node.f[name] = withPatch(compact(field, place), LIST_TABLE[place]);
  }
  if (MAP_ATOMIC.has(path)) node.mapType = 'atomic';
  return node;
}

/** A patch strategy on a field that is not a list (`retainKeys`). */
function withPatch(node, extra) {
  return extra && typeof node === 'string' ? { ref: node, ...extra } : node;
}

const kinds = {};
for (const id of [...schemas.keys()].sort((a, b) => (a < b ? -1 : 1))) {
  if (!SERVED.test(id) || id.endsWith('List')) continue;
  const { properties } = schemas.get(id);
  if (!properties?.apiVersion || !properties.kind) continue;
  kinds[shortOf(id)] = referenceOf(id);
}
const unused = Object.keys(LIST_TABLE).filter((place) => !JSON.stringify(definitions).length || !exists(place));
function exists(place) {
  const dot = place.lastIndexOf('.');
  return definitions[place.slice(0, dot)]?.f?.[place.slice(dot + 1)] !== undefined;
}
if (unused.length > 0) console.error(`table rows without a field: ${unused.join(', ')}`);

for (const name of WITH_DESCRIPTION) definitions[name].f.description = 'string';
const out = new URL('../packages/api/schemas/builtin.json', import.meta.url);
writeFileSync(out, `${JSON.stringify({ definitions, kinds: Object.keys(kinds) })}\n`);
console.log(`${Object.keys(definitions).length} definitions, ${Object.keys(kinds).length} kinds`);
