import type { ImageReference, RegistryCredentials as Credentials } from '@slipway/runtime';
import { ImportError } from './import-error.ts';

interface Entry {
  readonly auth?: unknown;
  readonly username?: unknown;
  readonly password?: unknown;
}

const DOCKER_HUB = /^(?:index\.|registry-1\.)?docker\.io(?=\/|$)/;

/**
 * Who may pull an image, by the content of a `.dockerconfigjson`: the entry whose name (`host`, `host/path` or a URL of the
 * registry) fits most of the image's. Throws ImportError for text that is no such configuration.
 */
export function registryCredentials(config: string, image: ImageReference): Credentials | undefined {
  const auths = Object.entries(authsIn(config)).map(([name, entry]) => ({ name: bareName(name), entry }));
  const wanted = `${image.registry}/${image.repository}`;
  const fitting = auths.filter(({ name }) => wanted === name || wanted.startsWith(`${name}/`));
  const best = fitting.sort((a, b) => b.name.length - a.name.length)[0];
  return best && credentialsIn(best.entry);
}

function authsIn(config: string): Readonly<Record<string, Entry | null>> {
  try {
    const { auths = {} } = JSON.parse(config) as { auths?: unknown };
    if (typeof auths === 'object' && auths !== null) return auths as Record<string, Entry | null>; // fields are checked when read
  } catch {
    // said below, without a word of the secret
  }
  throw new ImportError('InvalidRequest', 'The image pull secret holds no docker configuration in .dockerconfigjson');
}

const bareName = (name: string): string =>
  name
    .replace(/^https?:\/\//, '')
    .replace(/\/(?:v[12]\/?)?$/, '')
    .toLowerCase()
    .replace(DOCKER_HUB, 'docker.io');

function credentialsIn(entry: Entry | null): Credentials | undefined {
  const { auth, username, password } = entry ?? {};
  if (typeof username === 'string' && username !== '')
    return { username, password: typeof password === 'string' ? password : '' };
  if (typeof auth !== 'string') return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon > 0 ? { username: text.slice(0, colon), password: text.slice(colon + 1) } : undefined;
}
