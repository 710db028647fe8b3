import { isObject } from '@slipway/apimachinery';
import { readYamlDocuments, YamlError } from '@slipway/helm';
import type { Finding, LocatedObject } from './located.ts';
import { describeObject } from './located.ts';

type Found = Pick<Finding, 'severity' | 'message'> & { readonly field: string; readonly offset: number };

const LISTS = ['bootcmd', 'groups', 'ntp_servers', 'packages', 'runcmd', 'users', 'write_files', 'ssh_authorized_keys', 'mounts'];
const MAPS = ['chpasswd', 'growpart', 'ntp', 'apt', 'power_state', 'ssh_keys', 'swap'];
const HEADERS =
  /^(?:#cloud-config|#!|#include|#cloud-boothook|#part-handler|#cloud-config-archive|## template: ?jinja|Content-Type: multipart|MIME-Version:)/;

/** What guests would not understand in the cloud-init volumes of a machine. Pure. */
export function cloudInitFindings(located: LocatedObject): Finding[] {
  const { file, document, object, lineOf } = located;
  return volumesOf(object).flatMap(({ volumes, path }) =>
    volumes.flatMap((volume, index) =>
      ['cloudInitNoCloud', 'cloudInitConfigDrive'].flatMap((type) => {
        const source = isObject(volume) ? volume[type] : undefined;
        if (!isObject(source)) return [];
        const base = `${path}[${index}].${type}`;
        return [...userDataFindings(source, base), ...networkFindings(source, base)].map(({ offset, ...found }) => {
          const line = lineOf(found.field) + offset;
          return { ...found, file, document, line, object: describeObject(object) };
        });
      }),
    ),
  );
}

function volumesOf(object: unknown): { volumes: readonly unknown[]; path: string }[] {
  const paths = ['spec.volumes', 'spec.template.spec.volumes', 'spec.virtualMachineTemplate.spec.template.spec.volumes'];
  return paths.flatMap((path) => {
    const volumes = path.split('.').reduce<unknown>((inner, key) => (isObject(inner) ? inner[key] : undefined), object);
    return Array.isArray(volumes) ? [{ volumes, path }] : [];
  });
}

/** Of the field that holds it, plain or as base64. */
function textOf(
  source: Readonly<Record<string, unknown>>,
  name: string,
): { text: string; field: string; isPlain: boolean } | undefined {
  const [plain, encoded] = [source[name], source[`${name}Base64`]];
  if (typeof plain === 'string' && plain !== '') return { text: plain, field: name, isPlain: true };
  if (typeof encoded !== 'string' || encoded === '') return undefined;
  return { text: Buffer.from(encoded, 'base64').toString('utf8'), field: `${name}Base64`, isPlain: false };
}

function userDataFindings(source: Readonly<Record<string, unknown>>, base: string): Found[] {
  const given = textOf(source, 'userData');
  if (given === undefined) return [];
  const at = (severity: Finding['severity'], message: string, line = 0): Found => {
    // a block of text begins on the line after its name
    return { severity, message, field: `${base}.${given.field}`, offset: given.isPlain && line > 0 ? line : 0 };
  };
  if (given.text.charCodeAt(0) === 0x1f) return []; // compressed
  if (!HEADERS.test(given.text))
    return [at('warning', 'cloud-init ignores user data that begins with no header such as #cloud-config')];
  if (!given.text.startsWith('#cloud-config\n') && given.text.trim() !== '#cloud-config') return [];
  const read = documentOf(given.text);
  if ('complaint' in read) return [at('error', `cloud-init cannot read it: ${read.complaint}`, read.line)];
  if (read.value === null || read.value === undefined) return [];
  if (!isObject(read.value)) return [at('error', 'cloud-init wants a mapping after #cloud-config')];
  const value = read.value;
  return [
    ...LISTS.filter(
      (key) => key in value && value[key] !== null && !Array.isArray(value[key]) && !(key === 'groups' && isObject(value[key])),
    ).map((key) => at('error', `cloud-init wants a list at ${key}`)),
    ...MAPS.filter((key) => key in value && value[key] !== null && !isObject(value[key])).map((key) =>
      at('error', `cloud-init wants a mapping at ${key}`),
    ),
  ];
}

function networkFindings(source: Readonly<Record<string, unknown>>, base: string): Found[] {
  const given = textOf(source, 'networkData');
  if (given === undefined) return [];
  const read = documentOf(given.text);
  const field = `${base}.${given.field}`;
  if ('complaint' in read)
    return [
      {
        severity: 'error',
        message: `cloud-init cannot read it: ${read.complaint}`,
        field,
        offset: given.isPlain ? read.line : 0,
      },
    ];
  if (isObject(read.value)) return [];
  return [{ severity: 'error', message: 'cloud-init wants a mapping with version and ethernets or config', field, offset: 0 }];
}

function documentOf(text: string): { value: unknown } | { complaint: string; line: number } {
  try {
    return { value: readYamlDocuments(text)[0] };
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    return { complaint: error.message, line: Number(/line (\d+)/.exec(error.message)?.[1] ?? 0) };
  }
}
