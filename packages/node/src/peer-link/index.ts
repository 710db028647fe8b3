export { createPeerIdentity } from './peer-certificate.ts';
export { PeerLink, type PeerAddress, type PeerLinkDeps } from './peer-link.ts';
export { PeerChannel, type PeerMessage } from './peer-messages.ts';
export type { PeerStream } from './peer-server.ts';
