// Generates packages/apiserver/src/protobuf/generated/fields.json: field numbers of the kinds Kubernetes 1.26 serves.
// Usage: node tools/generate-protobuf-table.mjs KUBECTL
//   KUBECTL is a kubectl binary; the descriptors of the published .proto files are in it as data, gzip-packed.
// A field that the 1.26 schema of its message does not have gets the type `-`: read and dropped.
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { ABSENT_WHEN_ZERO, EMPTY_COUNTS } from './protobuf-plain-fields.mjs';

const [binary] = process.argv.slice(2);
if (!binary) throw new Error('Give a kubectl binary');

/** Fields of a protobuf message: `[number, bytes or number]`. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const size = varint();
    if ((tag & 7) === 2) {
      yield [tag >> 3, bytes.subarray(at, at + size)];
      at += size;
    } else yield [tag >> 3, size];
  }
}

const first = (message, number) => {
  for (const [found, value] of fieldsOf(message)) if (found === number) return value;
};

const MAGIC = Buffer.from('1f8b08000000000002ff', 'hex'); // gzip at its best level, as the generator of these files packs
const program = readFileSync(binary);
const messages = new Map();

/** Names that the .proto files spell in another way than JSON does. */
const jsonName = (name) => ({ Webhooks: 'webhooks', uID: 'uid', aPIGroup: 'apiGroup' })[name] ?? name;

function addMessage(bytes, scope) {
  const name = `${scope}.${first(bytes, 1)}`;
  const fields = [];
  for (const [number, value] of fieldsOf(bytes)) {
    if (number === 2) {
      fields.push({
        name: jsonName(String(first(value, 1))),
        number: first(value, 3),
        isRepeated: first(value, 4) === 3,
        type: first(value, 5),
        reference: String(first(value, 6) ?? '').slice(1),
      });
    }
    if (number === 3) addMessage(value, name);
  }
  messages.set(name, { fields, isMap: first(first(bytes, 7) ?? Buffer.alloc(0), 7) === 1 });
}

for (let at = program.indexOf(MAGIC); at >= 0; at = program.indexOf(MAGIC, at + 1)) {
  let file;
  try {
    file = gunzipSync(program.subarray(at, at + 1_000_000), { finishFlush: 2 });
  } catch {
    continue;
  }
  const scope = first(file, 2);
  if (!Buffer.isBuffer(scope) || !String(scope).startsWith('k8s.io.')) continue;
  for (const [number, value] of fieldsOf(file)) if (number === 4) addMessage(value, String(scope));
}

const { definitions, kinds } = JSON.parse(readFileSync(new URL('../packages/api/schemas/builtin.json', import.meta.url), 'utf8'));
const EXTRA = [
  ...['APIGroup', 'APIGroupList', 'APIResourceList', 'APIVersions', 'DeleteOptions', 'ListMeta'],
  ...['PartialObjectMetadata', 'PartialObjectMetadataList', 'Status', 'WatchEvent'],
].map((name) => `meta.v1.${name}`);
EXTRA.push('authentication.v1.SelfSubjectReview');

// a kind of kubectl that carries no descriptors of its own
const SPECIAL = {
  'apiregistration.v1.APIService':
    '1 metadata meta.v1.ObjectMeta,2 spec apiregistration.v1.APIServiceSpec,3 status apiregistration.v1.APIServiceStatus',
  'apiregistration.v1.APIServiceSpec':
    '1 service apiregistration.v1.ServiceReference,2 group s,3 version s,4 insecureSkipTLSVerify o,5 caBundle b,7 groupPriorityMinimum i,8 versionPriority i',
  'apiregistration.v1.ServiceReference': '1 namespace s,2 name s,3 port i',
  'apiregistration.v1.APIServiceStatus': '1 conditions apiregistration.v1.APIServiceCondition*',
  'apiregistration.v1.APIServiceCondition': '1 type s,2 status s,3 lastTransitionTime t,4 reason s,5 message s',
};

const PREFIXES = [
  ['k8s.io.apimachinery.pkg.apis.meta.', 'meta.'],
  ['k8s.io.api.certificates.v1beta1.', 'certificates.v1.'], // the messages of v1 point to these, which are the same
  ['k8s.io.api.', ''],
];
const shortOf = (name) => {
  const [prefix, short] = PREFIXES.find(([start]) => name.startsWith(start)) ?? ['', ''];
  return short + name.slice(prefix.length);
};
const LEAVES = {
  'meta.v1.Time': 't',
  'meta.v1.MicroTime': 'u',
  'meta.v1.FieldsV1': 'j',
  'meta.v1.Verbs': 'l',
  'authentication.v1.ExtraValue': 'l',
  'authorization.v1.ExtraValue': 'l',
  'certificates.v1.ExtraValue': 'l',
  'k8s.io.apimachinery.pkg.runtime.RawExtension': 'j',
  'k8s.io.apimachinery.pkg.api.resource.Quantity': 'q',
  'k8s.io.apimachinery.pkg.util.intstr.IntOrString': 'x',
};
const SCALARS = { 3: 'i', 5: 'i', 8: '?', 9: 's', 12: 'b' };
const byShort = new Map([...messages].map(([name, message]) => [shortOf(name), message]));
const table = {};

function typeOf(field) {
  if (field.type !== 11) {
    const letter = SCALARS[field.type];
    if (letter === undefined) throw new Error(`A field of type ${field.type}: ${field.name}`);
    return letter;
  }
  const short = shortOf(field.reference);
  if (LEAVES[short] === undefined) add(short);
  return LEAVES[short] ?? short;
}

const ATTACHED = new Set([
  // the schema has their fields in the message around them
  ...['core.v1.Volume.volumeSource', 'core.v1.PersistentVolumeSpec.persistentVolumeSource'],
  ...['core.v1.Probe.handler', 'core.v1.EphemeralContainer.ephemeralContainerCommon'],
  'networking.v1.IngressRule.ingressRuleValue',
]);

function add(name) {
  if (table[name] !== undefined) return;
  table[name] = ''; // guards against recursion
  const message = byShort.get(name);
  if (message === undefined) throw new Error(`No message ${name}`);
  const known = definitions[name]?.f;
  table[name] = message.fields
    .map((field) => {
      const place = `${name}.${field.name}`;
      const isAttached = ATTACHED.has(place) || field.name === 'localObjectReference';
      if (known !== undefined && !(field.name in known) && !isAttached) return `${field.number} ${field.name} -`;
      const inner = messages.get(field.reference);
      if (inner?.isMap) return `${field.number} ${field.name} {${typeOf(inner.fields[1])}}`;
      const type = typeOf(field);
      if (isAttached) return `${field.number} & ${type}`;
      if (field.isRepeated) return `${field.number} ${field.name} ${type}*`;
      if (EMPTY_COUNTS.has(place)) return `${field.number} ${field.name} e`;
      return `${field.number} ${field.name} ${ABSENT_WHEN_ZERO.has(place) ? { '?': 'o', i: 'n' }[type] : type}`;
    })
    .join(',');
}

for (const kind of [...kinds, ...EXTRA]) {
  if (byShort.has(kind)) add(kind);
  else if (SPECIAL[kind] === undefined) console.error(`no message for ${kind}`);
}
const sorted = Object.fromEntries(Object.entries({ ...table, ...SPECIAL }).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(
  new URL('../packages/apiserver/src/protobuf/generated/fields.json', import.meta.url),
  `${JSON.stringify(sorted)}\n`,
);
console.log(`${Object.keys(sorted).length} messages`);
