import { isObject } from '@slipway/apimachinery';
import type { RequestBody } from '../pipeline/request.ts';
import { bodyText } from '../pipeline/request.ts';
import type { RequestInfo } from '../routing/request-info.ts';

/** Of these nothing of the body is ever recorded: what they hold is secret, or is often used as if it were. */
const SECRET_RESOURCES: ReadonlySet<string> = new Set([
  ...['/secrets', '/configmaps', '/serviceaccounts/token', 'authentication.k8s.io/tokenreviews'],
  ...['upload.cdi.kubevirt.io/uploadtokenrequests', 'export.kubevirt.io/virtualmachineexports'],
]);
const SECRET_KINDS: ReadonlySet<unknown> = new Set(['Secret', 'ConfigMap', 'TokenRequest', 'TokenReview']);
/** Parts of other objects that carry secrets, in lower case. */
const SECRET_FIELDS: ReadonlySet<string> = new Set([
  ...['userdata', 'userdatabase64', 'networkdata', 'networkdatabase64', 'stringdata', 'password', 'token', 'cabundle'],
  // holds the whole object once more
  'kubectl.kubernetes.io/last-applied-configuration',
]);
const REDACTED = '(not recorded)';
const MAX_CHARACTERS = 64 * 1024;
const MAX_DEPTH = 64;

/** What of a request's body goes into the record; undefined when nothing does. */
export function requestObject(body: RequestBody, { group, resource, subresource }: RequestInfo): unknown {
  const target = `${group}/${resource}${subresource === '' ? '' : `/${subresource}`}`;
  if (SECRET_RESOURCES.has(target) || SECRET_RESOURCES.has(`${group}/${resource}`)) return undefined;
  const value = valueOf(body);
  if (value === undefined) return undefined;
  const shown = redacted(value, 0);
  return JSON.stringify(shown).length > MAX_CHARACTERS ? `(longer than ${MAX_CHARACTERS} characters)` : shown;
}

/** Only JSON is looked into: a form that is not understood may hide anything. */
function valueOf(body: RequestBody): unknown {
  if (body.type === 'value') return body.value;
  if (body.type === 'none' || body.bytes.length > 4 * MAX_CHARACTERS) return undefined;
  try {
    return JSON.parse(bodyText(body));
  } catch {
    return undefined;
  }
}

function redacted(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) return REDACTED;
  if (Array.isArray(value)) return value.map((item) => redacted(item, depth + 1));
  if (!isObject(value)) return value;
  if (SECRET_KINDS.has(value['kind'])) return { apiVersion: value['apiVersion'], kind: value['kind'], content: REDACTED };
  const path = value['path'];
  const isSecretPatch = typeof path === 'string' && 'op' in value && path.split('/').some(isSecretField);
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => [
      name,
      isSecretField(name) || (isSecretPatch && name === 'value') ? REDACTED : redacted(child, depth + 1),
    ]),
  );
}

/** Names in a JSON pointer are escaped. */
const isSecretField = (name: string): boolean =>
  SECRET_FIELDS.has(name.replaceAll('~1', '/').replaceAll('~0', '~').toLowerCase());
