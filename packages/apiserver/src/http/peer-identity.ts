import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { FRONT_PROXY_NAMES, requestHeaderUser } from '../authn/request-header.ts';
import type { ChannelIdentity } from '../pipeline/request.ts';

/** Authorities whose client certificates are believed, and for what. */
export interface ClientAuthorities {
  /** Signs certificates that name a user. */
  readonly clientCa: string;
  /** Signs certificates of front proxies, which name the user in headers. */
  readonly requestHeaderCa?: string;
}

/** Who is at the other end of a connection: itself, or whoever each of its requests speaks for. */
export type Peer =
  | { readonly type: 'own'; readonly identity: ChannelIdentity; readonly address: string }
  | { readonly type: 'front-proxy'; readonly address: string };

const NOBODY: ChannelIdentity = { type: 'none' };

/** Reads a client certificate. One authority's certificates are never believed for what the other one is for. */
export function peerOfSocket(socket: TLSSocket, authorities: ClientAuthorities): Peer {
  const address = socket.remoteAddress ?? '';
  if (!socket.authorized) return { type: 'own', identity: NOBODY, address };
  const certificate = socket.getPeerCertificate(true);
  const { requestHeaderCa } = authorities;
  if (requestHeaderCa === undefined) return { type: 'own', identity: identityOf(certificate), address };
  const root = rootFingerprint(certificate);
  if (root === fingerprint(authorities.clientCa)) return { type: 'own', identity: identityOf(certificate), address };
  const mayProxy = root === fingerprint(requestHeaderCa) && FRONT_PROXY_NAMES.includes(String(certificate.subject?.CN));
  return mayProxy ? { type: 'front-proxy', address } : { type: 'own', identity: NOBODY, address };
}

/** The identity of one request on a connection. */
export function identityOfRequest(peer: Peer, rawHeaders: readonly string[]): ChannelIdentity {
  if (peer.type === 'own') return peer.identity;
  const user = requestHeaderUser(rawHeaders);
  return user === undefined ? NOBODY : { type: 'user', user };
}

/** The last certificate of a chain names itself as its issuer. */
function rootFingerprint(certificate: DetailedPeerCertificate): string {
  let current = certificate;
  while (current.issuerCertificate !== undefined && current.issuerCertificate.fingerprint256 !== current.fingerprint256) {
    current = current.issuerCertificate;
  }
  return current.fingerprint256;
}

const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;

/** Common name and organizations of a certificate that our authority signed. */
function identityOf({ subject }: DetailedPeerCertificate): ChannelIdentity {
  if (subject?.CN === undefined) return NOBODY;
  const organizations: unknown = subject.O; // one text, or a list when there are several
  const list: unknown[] = Array.isArray(organizations) ? organizations : [organizations];
  const names = list.filter((name) => typeof name === 'string');
  return { type: 'certificate', commonName: String(subject.CN), organizations: names };
}
