import type { UserInfo } from '@slipway/runtime';

/** What a front proxy calls the parts of the identity it has checked; published in `extension-apiserver-authentication`. */
export const USERNAME_HEADER = 'X-Remote-User';
export const GROUP_HEADER = 'X-Remote-Group';
export const UID_HEADER = 'X-Remote-Uid';
export const EXTRA_PREFIX = 'X-Remote-Extra-';
/** Common names of certificates that may speak for others. */
export const FRONT_PROXY_NAMES: readonly string[] = ['front-proxy-client'];

const USER = USERNAME_HEADER.toLowerCase();
const GROUP = GROUP_HEADER.toLowerCase();
const UID = UID_HEADER.toLowerCase();
const EXTRA = EXTRA_PREFIX.toLowerCase();

/**
 * The user a trusted front proxy names; undefined when it names none. Takes headers as they came (name, value, name …):
 * joined ones would split a group at its comma.
 */
export function requestHeaderUser(rawHeaders: readonly string[]): UserInfo | undefined {
  let username = '';
  let uid = '';
  const groups: string[] = [];
  const extra = new Map<string, string[]>();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    const value = rawHeaders[index + 1] ?? '';
    if (name === USER) username ||= value;
    else if (name === UID) uid ||= value;
    else if (name === GROUP) groups.push(value);
    else if (name.startsWith(EXTRA)) {
      const key = decoded(name.slice(EXTRA.length));
      extra.set(key, [...(extra.get(key) ?? []), value]);
    }
  }
  if (username === '') return undefined;
  return { username, groups, ...(uid && { uid }), ...(extra.size > 0 && { extra: Object.fromEntries(extra) }) };
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key; // not escaped after all
  }
}
