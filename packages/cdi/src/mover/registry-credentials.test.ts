import { describe, expect, it } from 'vitest';
import { registryCredentials } from './registry-credentials.ts';
import { parseImageReference } from './registry-reference.ts';

const auth = (user: string) => ({ auth: Buffer.from(`${user}:pa:ss`).toString('base64') });
const config = JSON.stringify({
  auths: {
    'quay.io': auth('everybody'),
    'quay.io/team': auth('team'),
    'https://index.docker.io/v1/': auth('hub'),
    'registry.example.com:5000': { username: 'named', password: 'secret' },
    'empty.example.com': {},
  },
});

describe('registryCredentials', () => {
  it.each([
    ['quay.io/other/image:1', 'everybody'],
    ['quay.io/team/image:1', 'team'],
    ['quay.io/teams/image:1', 'everybody'],
    ['debian:12', 'hub'],
    ['docker://docker.io/library/debian', 'hub'],
    ['registry.example.com:5000/a/b', 'named'],
    ['registry.example.com/a/b', undefined],
    ['empty.example.com/a/b', undefined],
  ])('%s is pulled by %s', (image, username) => {
    expect(registryCredentials(config, parseImageReference(image))?.username).toBe(username);
  });

  it('keeps colons of the password', () => {
    expect(registryCredentials(config, parseImageReference('debian'))).toEqual({ username: 'hub', password: 'pa:ss' });
  });

  it.each(['not JSON', 'null', '{"auths":1}'])('refuses %j without repeating it', (text) => {
    expect(() => registryCredentials(text, parseImageReference('debian'))).toThrow(/no docker configuration/);
    expect(() => registryCredentials(text, parseImageReference('debian'))).not.toThrow(text);
  });
});
