import type { Credentials } from './client-config.ts';
import type { KubeconfigCluster } from './kubeconfig.ts';

/** `users[].user.exec` of a kubeconfig. */
export interface ExecConfig {
  apiVersion?: string;
  command: string;
  args?: string[] | null;
  env?: { name: string; value: string }[] | null;
  installHint?: string;
  provideClusterInfo?: boolean;
}

/** Runs a credential plugin and returns its standard output. Given by the program, as this package starts no processes. */
export type RunPlugin = (command: string, args: readonly string[], env: Readonly<Record<string, string>>) => Promise<string>;

interface ExecCredential {
  readonly status?: {
    readonly expirationTimestamp?: string;
    readonly token?: string;
    readonly clientCertificateData?: string;
    readonly clientKeyData?: string;
  };
}

/** Plugins may be slow, so their answer is used again until shortly before it expires. */
const RENEW_BEFORE_MS = 10_000;

/** Credentials from an exec plugin that speaks `client.authentication.k8s.io/v1` (or v1beta1). */
export function execCredentials(
  exec: ExecConfig,
  cluster: KubeconfigCluster,
  runPlugin: RunPlugin | undefined,
): () => Promise<Credentials> {
  const apiVersion = exec.apiVersion ?? 'client.authentication.k8s.io/v1';
  let cached: { readonly credentials: Credentials; readonly expiresMs: number } | undefined;
  return async () => {
    if (cached && Date.now() < cached.expiresMs - RENEW_BEFORE_MS) return cached.credentials;
    if (runPlugin === undefined) throw new Error(`Credential plugin "${exec.command}" cannot be run here`);
    const info = {
      apiVersion,
      kind: 'ExecCredential',
      spec: { interactive: false, ...(exec.provideClusterInfo && { cluster: { server: cluster.server } }) },
    };
    const env = Object.fromEntries((exec.env ?? []).map(({ name, value }) => [name, value]));
    const output = await runPlugin(exec.command, exec.args ?? [], { ...env, KUBERNETES_EXEC_INFO: JSON.stringify(info) });
    const { status } = parseCredential(output, exec.command);
    const credentials: Credentials = {
      ...(status?.token && { token: status.token }),
      ...(status?.clientCertificateData && { cert: status.clientCertificateData, key: status.clientKeyData ?? '' }),
    };
    const expiresMs = status?.expirationTimestamp ? Date.parse(status.expirationTimestamp) : Number.POSITIVE_INFINITY;
    cached = { credentials, expiresMs };
    return credentials;
  };
}

function parseCredential(output: string, command: string): ExecCredential {
  try {
    // fields are checked for presence where they are used
    return JSON.parse(output) as ExecCredential;
  } catch (error) {
    throw new Error(`Credential plugin "${command}" did not print an ExecCredential`, { cause: error });
  }
}
