// What network-nodes-long.test.ts makes: Services of every kind, and policies with the probes that prove them.

const dual = { ipFamilyPolicy: 'RequireDualStack' };
const http = [{ port: 80, targetPort: 80 }];

/** Services of namespace default by name. Guests `web` (first node) and `twin` (second node) are of tier `server`. */
export const SERVICES: Readonly<Record<string, object>> = {
  front: { ...dual, selector: { app: 'web' }, ports: http, externalIPs: ['192.0.2.77'] },
  'by-name': { ...dual, selector: { app: 'web' }, ports: [{ name: 'page', port: 8000, targetPort: 'http' }] },
  all: { ...dual, type: 'LoadBalancer', selector: { tier: 'server' }, ports: http },
  nobody: { ...dual, selector: { app: 'nobody' }, ports: http },
  sticky: { ...dual, selector: { tier: 'server' }, sessionAffinity: 'ClientIP', ports: http },
  inside: { ...dual, selector: { tier: 'server' }, internalTrafficPolicy: 'Local', ports: http },
  outside: { ...dual, type: 'LoadBalancer', selector: { app: 'twin' }, externalTrafficPolicy: 'Local', ports: http },
  guarded: { ...dual, type: 'LoadBalancer', selector: { app: 'web' }, ports: http },
  datagrams: { ...dual, selector: { app: 'web' }, ports: [{ port: 53, targetPort: 5353, protocol: 'UDP' }] },
  fellows: { ...dual, clusterIP: 'None', selector: { fellow: 'yes' }, ports: [{ name: 'http', port: 80 }] },
  alias: { type: 'ExternalName', externalName: 'front.default.svc.cluster.local' },
};

interface World {
  /** Addresses of this machine on the link of the nodes. */
  readonly machine: readonly string[];
  readonly guest: (name: string) => readonly string[];
}

/** One set of policies; probes are `who target [port]`, tried in both families. */
export interface PolicyCase {
  readonly name: string;
  /** Specifications, of namespace default unless they name another. */
  readonly policies: (world: World) => readonly ({ namespace?: string } & object)[];
  readonly denied: readonly string[];
  readonly allowed: readonly string[];
}

const of = (app: string): object => ({ matchLabels: { app } });
const block = (address: string): object => ({ ipBlock: { cidr: `${address}/${address.includes(':') ? 128 : 32}` } });
const elsewhere = { matchLabels: { 'kubernetes.io/metadata.name': 'elsewhere' } };
const dns = { to: [{ namespaceSelector: {} }], ports: [{ port: 53, protocol: 'UDP' }] };
const intoWeb = (...ingress: readonly object[]): object => ({ podSelector: of('web'), policyTypes: ['Ingress'], ingress });
const outOf = (app: string, ...egress: readonly object[]): object => ({ podSelector: of(app), policyTypes: ['Egress'], egress });

/**
 * Guests are told by this machine what to ask: who is closed to it cannot ask.
 * `web` and `near` are on the first node, `twin` on the second, `far` of namespace elsewhere on the last.
 */
export const POLICY_CASES: readonly PolicyCase[] = [
  {
    name: 'nobody comes in, but this machine to those from whom the probes are sent',
    policies: ({ machine }) => [
      { podSelector: {}, policyTypes: ['Ingress'] },
      { podSelector: of('near'), ingress: [{ from: machine.map(block) }] },
      { podSelector: of('twin'), ingress: [{ from: machine.map(block) }] },
    ],
    denied: ['near web', 'twin web', 'far web', 'machine web', 'near twin', 'far twin', 'near front', 'far front'],
    allowed: ['near far', 'twin far', 'near names', 'machine near'],
  },
  {
    name: 'pods by label come in',
    policies: () => [intoWeb({ from: [{ podSelector: of('near') }, { podSelector: of('far') }] })],
    // the selector is for pods of the policy's own namespace
    denied: ['twin web', 'far web', 'far front', 'machine web'],
    allowed: ['near web', 'near web 8080', 'near front', 'near twin'],
  },
  {
    name: 'pods of a namespace come in',
    policies: () => [intoWeb({ from: [{ namespaceSelector: elsewhere }] })],
    denied: ['near web', 'twin web', 'machine web'],
    allowed: ['far web', 'far web 8080', 'far front'],
  },
  {
    name: 'pods by namespace and label come in to one port',
    policies: () => [
      intoWeb(
        { from: [{ namespaceSelector: elsewhere, podSelector: of('near') }] },
        { from: [{ namespaceSelector: elsewhere, podSelector: of('far') }], ports: [{ port: 8080 }] },
      ),
    ],
    denied: ['near web', 'far web', 'far front'],
    allowed: ['far web 8080'],
  },
  {
    name: 'everybody comes in to a port by name',
    policies: () => [intoWeb({ ports: [{ port: 'http' }] })],
    denied: ['near web 8080', 'far web 8080', 'machine web 8080'],
    allowed: ['near web', 'far web', 'machine web', 'twin front'],
  },
  {
    name: 'everybody comes in to a range of ports',
    policies: () => [intoWeb({ ports: [{ port: 8000, endPort: 8100 }] })],
    denied: ['near web', 'far web', 'machine web'],
    allowed: ['near web 8080', 'far web 8080'],
  },
  {
    name: 'a port of UDP is none of TCP',
    policies: () => [
      intoWeb({
        ports: [
          { port: 80, protocol: 'UDP' },
          { port: 8080, protocol: 'TCP' },
        ],
      }),
    ],
    denied: ['near web', 'far web'],
    allowed: ['near web 8080', 'far web 8080'],
  },
  {
    name: 'a block of addresses comes in, except some',
    policies: ({ guest }) => {
      const [v4, v6] = guest('far');
      return [
        intoWeb({
          from: [{ ipBlock: { cidr: '0.0.0.0/0', except: [`${v4}/32`] } }, { ipBlock: { cidr: '::/0', except: [`${v6}/128`] } }],
        }),
      ];
    },
    denied: ['far web', 'far web 8080', 'far front'],
    allowed: ['near web', 'twin web', 'machine web'],
  },
  {
    name: 'one goes nowhere',
    policies: () => [outOf('near')],
    denied: ['near web', 'near twin', 'near far', 'near front', 'near names'],
    allowed: ['far near', 'web near', 'machine near'],
  },
  {
    name: 'one asks for names alone',
    policies: () => [outOf('near', dns)],
    denied: ['near web', 'near far'],
    allowed: ['near names', 'far near'],
  },
  {
    name: 'one goes to pods by label and port',
    policies: () => [outOf('near', { to: [{ podSelector: of('twin') }], ports: [{ port: 80 }] })],
    denied: ['near twin 8080', 'near web', 'near far', 'near front'],
    allowed: ['near twin'],
  },
  {
    name: 'one goes to a namespace',
    policies: () => [outOf('twin', { to: [{ namespaceSelector: elsewhere }] })],
    denied: ['twin web', 'twin near', 'twin front'],
    allowed: ['twin far', 'twin far 8080', 'near twin'],
  },
  {
    name: 'one goes to a block of addresses and a port',
    policies: ({ guest }) => [
      { namespace: 'elsewhere', ...outOf('far', { to: guest('web').map(block), ports: [{ port: 80 }] }) },
    ],
    denied: ['far web 8080', 'far twin', 'far near'],
    allowed: ['far web', 'far front'],
  },
  {
    name: 'who may send and who may be reached have to agree',
    policies: () => [outOf('near', { to: [{ podSelector: of('web') }] }), intoWeb({ from: [{ namespaceSelector: elsewhere }] })],
    denied: ['near web', 'near twin', 'twin web'],
    allowed: ['far web'],
  },
];
