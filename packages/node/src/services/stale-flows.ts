import type { CommandRunner } from '@slipway/hostapi';
import type { ServicePort } from './service-ports.ts';

/** UDP flows that the kernel must forget: those to these addresses that do not end at one of the endpoints. */
export interface StaleFlows {
  /** Absent: any address of this node, as of node ports. */
  readonly address?: string;
  readonly port: number;
  readonly family: 4 | 6;
  /** Addresses of endpoints; flows that lead to them go on. */
  readonly endpoints: readonly string[];
}

/**
 * UDP has no connections that end: the kernel sends a client's packets on to the endpoint of its first packet for as long as
 * more of them come, and nowhere when there was none. What is new is left alone. Pure.
 */
export function staleFlows(before: readonly ServicePort[], now: readonly ServicePort[]): StaleFlows[] {
  const current = new Map(now.map((port) => [keyOf(port), port]));
  return before
    .filter(({ protocol }) => protocol === 'udp')
    .flatMap((old) => {
      const next = current.get(keyOf(old));
      const endpoints = next ? endpointsOf(next) : [];
      if (next && endpoints.join(' ') === endpointsOf(old).join(' ')) return [];
      const shared = { port: old.port, family: old.family, endpoints };
      return [
        ...[...old.clusterIPs, ...old.externalIPs].map((address) => ({ ...shared, address })),
        ...(old.nodePort === undefined ? [] : [{ ...shared, port: old.nodePort }]),
      ];
    });
}

const keyOf = ({ id, family, protocol, port }: ServicePort): string => `${id} ${family} ${protocol} ${port}`;
const endpointsOf = ({ targets, externalTargets }: ServicePort): string[] =>
  [...new Set([...targets, ...externalTargets].map(({ address }) => address))].sort((a, b) => a.localeCompare(b));

/**
 * Perl program that asks the kernel for its flows and has some forgotten, by netlink. Each line of the input is a family (2 or
 * 10), an address or `*`, a port, and the endpoints whose flows stay.
 */
const FORGET_FLOWS = String.raw`
use strict; use warnings; use Socket qw(:all);
sub plain { my ($family, $text) = @_; my $packed = inet_pton($family, $text); return defined $packed ? inet_ntop($family, $packed) : $text }
my @stale = map { chomp; my ($family, $address, $port, @keep) = split / /; ($address, @keep) = map { plain($family, $_) } $address, @keep; { family => $family, address => $address, port => $port, keep => { map { ($_ => 1) } @keep } } } <STDIN>;
socket(my $netlink, 16, SOCK_RAW, 12) or die "netlink: $!\n";
bind($netlink, pack('S S L L', 16, 0, 0, 0)) or die "bind: $!\n";
sub attributes { my ($data, %found) = @_;
  while (length $data >= 4) { my ($length, $type) = unpack('S S', $data); last if $length < 4;
    $found{$type & 0x3fff} = substr($data, 4, $length - 4); my $next = ($length + 3) & ~3; last if $next >= length $data; $data = substr($data, $next) }
  return \%found }
sub request { my ($type, $flags, $family, $body) = @_;
  send($netlink, pack('L S S L L C C n', 20 + length $body, 0x100 | $type, $flags, 1, 0, $family, 0, 0) . $body, 0, pack('S S L L', 16, 0, 0, 0)) or die "send: $!\n" }
sub address { my ($tuple, $family, $kind) = @_; my $ip = attributes($tuple->{1})->{$family == 2 ? $kind : $kind + 2}; return defined $ip ? inet_ntop($family, $ip) : '' }
for my $family (2, 10) {
  my @wanted = grep { $_->{family} == $family } @stale or next;
  request(1, 0x301, $family, ''); # all flows
  my @forget; my $done = 0;
  while (!$done) {
    defined recv($netlink, my $data, 1 << 20, 0) or die "recv: $!\n";
    while (length $data >= 16) { my ($length, $type) = unpack('L S', $data); last if $length < 16;
      if ($type == 3 || $type == 2) { $done = 1; last }
      my $flow = attributes(substr($data, 20, $length - 20));
      my ($to, $from) = (attributes($flow->{1}), attributes($flow->{2}));
      my $transport = attributes($to->{2} // '');
      if (ord($transport->{1} // '') == 17) {
        my ($address, $port, $endpoint) = (address($to, $family, 2), unpack('n', $transport->{3} // "\0\0"), address($from, $family, 1));
        push @forget, $flow->{1} if grep { $_->{port} == $port && ($_->{address} eq '*' || $_->{address} eq $address) && !$_->{keep}{$endpoint} } @wanted;
      }
      my $next = ($length + 3) & ~3; last if $next >= length $data; $data = substr($data, $next) }
  }
  request(2, 0x1, $family, pack('S S', 4 + length $_, 0x8001) . $_) for @forget;
}
`;

/** Has the kernel forget them, so that the next packet is a first one. */
export async function forgetFlows(runner: CommandRunner, flows: readonly StaleFlows[], signal: AbortSignal): Promise<void> {
  if (flows.length === 0) return;
  const lines = flows.map(({ family, address = '*', port, endpoints }) =>
    [family === 4 ? 2 : 10, address, port, ...endpoints].join(' '),
  );
  await runner.run(['perl', '-e', FORGET_FLOWS], { stdin: `${lines.join('\n')}\n` }, signal);
}
