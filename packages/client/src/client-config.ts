/** How to reach one API server as one user. PEM texts, not file names. */
export interface ClientConfig {
  /** Base URL, for example `https://127.0.0.1:6443`; a path in it is kept as a prefix. */
  readonly server: string;
  /** CA bundle; the system's when absent. */
  readonly ca?: string;
  readonly tlsServerName?: string;
  /** Does not check the server's certificate. */
  readonly insecureSkipTlsVerify?: boolean;
  /** Asked before every request, so that rotated credentials are used. */
  readonly credentials?: () => Promise<Credentials>;
  readonly userAgent?: string;
  /** Recorded in managedFields when a call does not name another. */
  readonly fieldManager?: string;
}

export interface Credentials {
  readonly token?: string;
  /** Client certificate and key. */
  readonly cert?: string;
  readonly key?: string;
  readonly username?: string;
  readonly password?: string;
  readonly impersonate?: { readonly user: string; readonly groups?: readonly string[] };
}

/** Request headers that carry these credentials; a certificate is not one of them. */
export function credentialHeaders(credentials: Credentials): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  if (credentials.token) headers['authorization'] = `Bearer ${credentials.token}`;
  else if (credentials.username !== undefined) {
    const pair = Buffer.from(`${credentials.username}:${credentials.password ?? ''}`).toString('base64');
    headers['authorization'] = `Basic ${pair}`;
  }
  if (credentials.impersonate) {
    headers['impersonate-user'] = credentials.impersonate.user;
    if (credentials.impersonate.groups) headers['impersonate-group'] = [...credentials.impersonate.groups];
  }
  return headers;
}
