import { readFileSync } from 'node:fs';
import { issuerOf, issuersOfConfiguration, type OidcIssuer, type OidcOptions } from '@slipway/apiserver';
import { parseYaml } from '@slipway/cli';
import { UserError } from '../report-failure.ts';

/** What `slipway up` is told about the server and remembers; files are read at that moment and kept with it. */
export interface ServerOptions {
  readonly oidc?: OidcOptions;
  /** Content of the file given by `--authentication-config`. */
  readonly authenticationConfiguration?: unknown;
}

/** The options as the command line has them. */
export interface ServerFlags {
  readonly oidcIssuerUrl?: string;
  readonly oidcClientId?: string;
  readonly oidcUsernameClaim?: string;
  readonly oidcUsernamePrefix?: string;
  readonly oidcGroupsClaim?: string;
  readonly oidcGroupsPrefix?: string;
  readonly oidcRequiredClaim?: readonly string[];
  readonly oidcSigningAlgs?: string;
  readonly oidcCaFile?: string;
  readonly authenticationConfig?: string;
}

/** What is remembered, with what the flags say anew. Throws UserError for flags that make no sense. */
export function withServerFlags(remembered: ServerOptions, flags: ServerFlags): ServerOptions {
  const { oidc: _oidc, authenticationConfiguration: _configuration, ...rest } = remembered;
  const next: ServerOptions = {
    ...rest,
    ...optional('oidc', flags.oidcIssuerUrl === undefined ? remembered.oidc : oidcOf(flags)),
    ...optional(
      'authenticationConfiguration',
      flags.authenticationConfig === undefined ? remembered.authenticationConfiguration : fileOf(flags.authenticationConfig),
    ),
  };
  const isIncomplete = flags.oidcIssuerUrl === undefined && Object.keys(flags).some((name) => name.startsWith('oidc'));
  if (isIncomplete) throw new UserError('Give --oidc-issuer-url and --oidc-client-id with the other --oidc options');
  oidcIssuersOf(next);
  return next;
}

/** Everybody whose tokens are believed. Throws UserError. */
export function oidcIssuersOf({ oidc, authenticationConfiguration }: ServerOptions): OidcIssuer[] {
  if (oidc !== undefined && authenticationConfiguration !== undefined)
    throw new UserError("Either --authentication-config or the --oidc options; give '' for the one you no longer want");
  try {
    if (oidc !== undefined) return [issuerOf(oidc)];
    return authenticationConfiguration === undefined ? [] : issuersOfConfiguration(authenticationConfiguration);
  } catch (error) {
    throw new UserError(error instanceof Error ? error.message : String(error));
  }
}

const optional = <N extends string, T>(name: N, value: T | undefined): { [name in N]?: T } =>
  (value === undefined ? {} : { [name]: value }) as { [name in N]?: T }; // computed names lose their type

/** An empty issuer takes the setting back. */
function oidcOf(flags: ServerFlags): OidcOptions | undefined {
  if (flags.oidcIssuerUrl === undefined || flags.oidcIssuerUrl === '') return undefined;
  return {
    issuerUrl: flags.oidcIssuerUrl,
    clientId: flags.oidcClientId ?? '',
    ...optional('usernameClaim', flags.oidcUsernameClaim),
    ...optional('usernamePrefix', flags.oidcUsernamePrefix),
    ...optional('groupsClaim', flags.oidcGroupsClaim),
    ...optional('groupsPrefix', flags.oidcGroupsPrefix),
    ...optional('requiredClaims', flags.oidcRequiredClaim && Object.fromEntries(flags.oidcRequiredClaim.map(claimOf))),
    ...optional(
      'signingAlgorithms',
      flags.oidcSigningAlgs?.split(',').map((name) => name.trim()),
    ),
    ...optional('ca', flags.oidcCaFile === undefined ? undefined : textOf(flags.oidcCaFile)),
  };
}

function claimOf(text: string): [string, string] {
  const mark = text.indexOf('=');
  if (mark < 1) throw new UserError(`--oidc-required-claim wants name=value, not ${JSON.stringify(text)}`);
  return [text.slice(0, mark), text.slice(mark + 1)];
}

const fileOf = (path: string): unknown => (path === '' ? undefined : parsed(path));

function parsed(path: string): unknown {
  try {
    return parseYaml(textOf(path));
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${path} is no YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
