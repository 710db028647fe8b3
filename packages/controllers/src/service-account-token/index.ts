import { isNotFound, type ObjectKey, StatusError } from '@slipway/apimachinery';
import { type Secret, SecretKind, type ServiceAccount, ServiceAccountKind } from '@slipway/api';
import { allow, type ControllerDeps, type ControllerRegistration, done, watchOf } from '@slipway/runtime';

const TOKEN_TYPE = 'kubernetes.io/service-account-token';
const ACCOUNT_NAME = 'kubernetes.io/service-account.name';
const ACCOUNT_UID = 'kubernetes.io/service-account.uid';
const BY_ACCOUNT = 'service-account-token/account';
/** These tokens end with their Secret or account; the API server wants a number all the same. */
const FOREVER_SECONDS = 2 ** 32;

const isToken = ({ object }: { object: object }): boolean => (object as Secret).type === TOKEN_TYPE;
const nameOfAccount = ({ metadata }: Secret): string => metadata.annotations?.[ACCOUNT_NAME] ?? '';

/** Fills Secrets of type `kubernetes.io/service-account-token`, and removes them with their account. */
export const serviceAccountTokenController: ControllerRegistration = {
  name: 'service-account-token-controller',
  rules: [
    ...allow('update delete', SecretKind),
    ...allow('get', ServiceAccountKind),
    ...allow('create', [ServiceAccountKind, 'token']),
  ],
  create(deps) {
    const secrets = deps.informers.for(SecretKind);
    secrets.addIndex(BY_ACCOUNT, (secret) =>
      secret.type === TOKEN_TYPE ? [`${secret.metadata.namespace}/${nameOfAccount(secret)}`] : [],
    );
    const secretsOf = ({ metadata }: ServiceAccount): readonly ObjectKey[] =>
      secrets.lister
        .byIndex(BY_ACCOUNT, `${metadata.namespace}/${metadata.name}`)
        .map((secret) => ({ namespace: secret.metadata.namespace ?? '', name: secret.metadata.name ?? '' }));
    return {
      kind: SecretKind,
      predicate: isToken,
      watches: [watchOf(ServiceAccountKind, secretsOf, ({ type }) => type !== 'updated')],
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          const secret = secrets.lister.get(key);
          if (secret === undefined || secret.type !== TOKEN_TYPE || secret.metadata.deletionTimestamp) return done;
          await syncToken(deps, secret, signal);
          return done;
        },
      },
    };
  },
};

async function syncToken({ client, settings }: ControllerDeps, secret: Secret, signal: AbortSignal): Promise<void> {
  const { namespace = '', name = '', uid = '', annotations = {} } = secret.metadata;
  const account = await accountOf(client, { namespace, name: nameOfAccount(secret) }, signal);
  const claimed = annotations[ACCOUNT_UID];
  try {
    if (account === undefined || (claimed && claimed !== account.metadata.uid)) {
      await client.delete(SecretKind, { namespace, name }, { preconditions: { uid }, signal });
      return;
    }
    const data = { ...secret.data };
    data['ca.crt'] = encode(settings.caBundle);
    data['namespace'] ??= encode(namespace);
    data['token'] ??= encode(await requestToken(client, account, secret, signal));
    const isComplete = claimed && Object.entries(data).every(([field, value]) => secret.data?.[field] === value);
    if (isComplete) return;
    const metadata = { ...secret.metadata, annotations: { ...annotations, [ACCOUNT_UID]: account.metadata.uid ?? '' } };
    await client.update(SecretKind, { ...secret, metadata, data }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error; // the secret or its account went meanwhile; the watch brings it back
  }
}

/** Asks the server: the absence of an account in the cache proves nothing, and deletes a secret. */
async function accountOf(client: ControllerDeps['client'], key: ObjectKey, signal: AbortSignal) {
  if (key.name === '') return undefined;
  try {
    return await client.get(ServiceAccountKind, key, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function requestToken(
  client: ControllerDeps['client'],
  account: ServiceAccount,
  secret: Secret,
  signal: AbortSignal,
): Promise<string> {
  const { namespace, name } = account.metadata;
  const boundObjectRef = { apiVersion: 'v1', kind: 'Secret', name: secret.metadata.name, uid: secret.metadata.uid };
  const { status, body } = await client.raw({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
    headers: { 'content-type': 'application/json' },
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name, namespace },
      spec: { audiences: [], expirationSeconds: FOREVER_SECONDS, boundObjectRef },
    },
    signal,
  });
  const answer = body as { message?: string; reason?: string; status?: { token?: string } }; // a TokenRequest or a Status
  const token = answer.status?.token;
  if (token !== undefined) return token;
  throw new StatusError({ code: status, reason: answer.reason ?? 'Unknown', message: answer.message ?? 'no token' });
}

const encode = (text: string): string => Buffer.from(text).toString('base64');
