import { isObject } from '@slipway/apimachinery';

/** One issuer whose ID tokens are believed, and how their claims become a user. */
export interface OidcIssuer {
  /** `https://…`, equal to the `iss` claim. */
  readonly issuerUrl: string;
  /** Where the discovery document is, when it is not below the issuer's URL. */
  readonly discoveryUrl?: string;
  /** PEM of the authorities that may sign the issuer's certificate; absent: those the runtime trusts. */
  readonly ca?: string;
  /** A token must be made for one of these. */
  readonly audiences: readonly string[];
  readonly signingAlgorithms: readonly string[];
  readonly usernameClaim: string;
  readonly usernamePrefix: string;
  readonly groupsClaim?: string;
  readonly groupsPrefix: string;
  readonly uidClaim?: string;
  /** Claims that a token must carry with exactly this text. */
  readonly requiredClaims: Readonly<Record<string, string>>;
}

/** The options of `slipway up`, named as those of kube-apiserver without `oidc-`. */
export interface OidcOptions {
  readonly issuerUrl: string;
  readonly clientId: string;
  readonly usernameClaim?: string;
  readonly usernamePrefix?: string;
  readonly groupsClaim?: string;
  readonly groupsPrefix?: string;
  readonly requiredClaims?: Readonly<Record<string, string>>;
  readonly signingAlgorithms?: readonly string[];
  readonly ca?: string;
}

export const SIGNING_ALGORITHMS: readonly string[] = [
  ...['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512'],
];
const DEFAULT_ALGORITHMS = ['RS256'];
/** Says that names are taken as they are. */
const NO_PREFIX = '-';

/** The issuer that kube-apiserver's options describe. Throws an Error that names the wrong option. */
export function issuerOf(options: OidcOptions): OidcIssuer {
  const { issuerUrl, clientId, usernameClaim = 'sub', groupsClaim, ca, requiredClaims = {} } = options;
  const signingAlgorithms = options.signingAlgorithms ?? DEFAULT_ALGORITHMS;
  checkIssuerUrl(issuerUrl);
  if (clientId === '') throw new Error('An OIDC issuer needs a client ID that its tokens are made for');
  const unknown = signingAlgorithms.find((name) => !SIGNING_ALGORITHMS.includes(name));
  if (unknown !== undefined) throw new Error(`OIDC signing algorithm ${JSON.stringify(unknown)} is not supported`);
  return {
    issuerUrl,
    audiences: [clientId],
    signingAlgorithms,
    usernameClaim,
    usernamePrefix: usernamePrefixOf(options.usernamePrefix, usernameClaim, issuerUrl),
    ...(groupsClaim && { groupsClaim }),
    groupsPrefix: options.groupsPrefix ?? '',
    requiredClaims,
    ...(ca !== undefined && { ca }),
  };
}

/** A user of another issuer, or of no issuer, must never be taken for this one: the prefix keeps them apart. */
function usernamePrefixOf(wanted: string | undefined, claim: string, issuerUrl: string): string {
  if (wanted === NO_PREFIX) return '';
  if (wanted !== undefined && wanted !== '') return wanted;
  return claim === 'email' ? '' : `${issuerUrl}#`;
}

function checkIssuerUrl(text: string): void {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // reported below
  }
  if (url?.protocol !== 'https:') throw new Error(`OIDC issuer ${JSON.stringify(text)} must be an https:// URL`);
  if (url.search !== '' || url.hash !== '' || url.username !== '')
    throw new Error(`OIDC issuer ${JSON.stringify(text)} must be a URL without query, fragment and user`);
}

const CONFIGURATION_VERSIONS: readonly unknown[] = ['v1alpha1', 'v1beta1', 'v1'].map((v) => `apiserver.config.k8s.io/${v}`);

/** The issuers of an AuthenticationConfiguration file. Throws an Error that names the wrong field. */
export function issuersOfConfiguration(file: unknown): OidcIssuer[] {
  if (!isObject(file) || file['kind'] !== 'AuthenticationConfiguration' || !CONFIGURATION_VERSIONS.includes(file['apiVersion']))
    throw new Error('An AuthenticationConfiguration of apiserver.config.k8s.io/v1beta1 is needed');
  allowOnly('', file, ['apiVersion', 'kind', 'jwt']);
  const issuers = listAt('jwt', file['jwt']).map((entry, index) => issuerOfEntry(`jwt[${index}]`, entry));
  const repeated = issuers.find(({ issuerUrl }, index) =>
    issuers.some((other, at) => at < index && other.issuerUrl === issuerUrl),
  );
  if (repeated !== undefined) throw new Error(`jwt: issuer ${repeated.issuerUrl} is listed twice`);
  return issuers;
}

function issuerOfEntry(path: string, entry: unknown): OidcIssuer {
  const jwt = objectAt(path, entry);
  allowOnly(path, jwt, ['issuer', 'claimMappings', 'claimValidationRules']);
  const issuer = objectAt(`${path}.issuer`, jwt['issuer']);
  allowOnly(`${path}.issuer`, issuer, ['url', 'discoveryURL', 'certificateAuthority', 'audiences', 'audienceMatchPolicy']);
  const issuerUrl = textAt(`${path}.issuer.url`, issuer['url']);
  checkIssuerUrl(issuerUrl);
  const audiences = listAt(`${path}.issuer.audiences`, issuer['audiences']).map((one) => textAt(`${path}.issuer.audiences`, one));
  if (audiences.length === 0) throw new Error(`${path}.issuer.audiences: at least one is needed`);
  const mappings = objectAt(`${path}.claimMappings`, jwt['claimMappings']);
  allowOnly(`${path}.claimMappings`, mappings, ['username', 'groups', 'uid']);
  const username = claimAt(`${path}.claimMappings.username`, mappings['username']);
  if (username === undefined) throw new Error(`${path}.claimMappings.username.claim: is required`);
  const groups = claimAt(`${path}.claimMappings.groups`, mappings['groups']);
  const uid = claimAt(`${path}.claimMappings.uid`, mappings['uid']);
  return {
    issuerUrl,
    ...(typeof issuer['discoveryURL'] === 'string' && {
      discoveryUrl: httpsUrl(`${path}.issuer.discoveryURL`, issuer['discoveryURL']),
    }),
    ...(typeof issuer['certificateAuthority'] === 'string' && { ca: issuer['certificateAuthority'] }),
    audiences,
    signingAlgorithms: SIGNING_ALGORITHMS,
    usernameClaim: username.claim,
    usernamePrefix: username.prefix,
    ...(groups && { groupsClaim: groups.claim }),
    groupsPrefix: groups?.prefix ?? '',
    ...(uid && { uidClaim: uid.claim }),
    requiredClaims: requiredClaimsAt(`${path}.claimValidationRules`, jwt['claimValidationRules']),
  };
}

/** Expressions are refused, not ignored: a rule that is not checked would let in whom it should keep out. */
function claimAt(path: string, value: unknown): { claim: string; prefix: string } | undefined {
  if (value === undefined) return undefined;
  const mapping = objectAt(path, value);
  allowOnly(path, mapping, ['claim', 'prefix']);
  const claim = textAt(`${path}.claim`, mapping['claim']);
  return { claim, prefix: typeof mapping['prefix'] === 'string' ? mapping['prefix'] : '' };
}

function requiredClaimsAt(path: string, value: unknown): Record<string, string> {
  const required: Record<string, string> = {};
  for (const [index, item] of listAt(path, value).entries()) {
    const rule = objectAt(`${path}[${index}]`, item);
    allowOnly(`${path}[${index}]`, rule, ['claim', 'requiredValue']);
    required[textAt(`${path}[${index}].claim`, rule['claim'])] =
      typeof rule['requiredValue'] === 'string' ? rule['requiredValue'] : '';
  }
  return required;
}

function allowOnly(path: string, object: Record<string, unknown>, names: readonly string[]): void {
  const unknown = Object.keys(object).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`${path === '' ? '' : `${path}.`}${unknown}: is not supported`);
}

function objectAt(path: string, value: unknown): Record<string, unknown> {
  if (!isObject(value)) throw new Error(`${path}: must be an object`);
  return value;
}

function textAt(path: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw new Error(`${path}: must be a text`);
  return value;
}

function listAt(path: string, value: unknown): unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`${path}: must be a list`);
  return value;
}

function httpsUrl(path: string, text: string): string {
  if (!text.startsWith('https://')) throw new Error(`${path}: must be an https:// URL`);
  return text;
}
