/**
 * Perl program that opens sockets in network namespaces and relays datagrams as lines on its standard streams. A Node
 * process cannot enter a namespace; one of these per node costs less than anything per pod (docs/decisions, DHCP).
 *
 * In: `open ID NETNS LINK`, `send ID 4 HEX`, `send ID 6 ADDRESS HEX`, `send ID ra HEX`, `close ID`.
 * Out: `opened ID`, `failed ID MESSAGE`, `packet ID 4|6|rs SOURCE HEX`.
 */
export const RELAY_PROGRAM = String.raw`
use strict; use warnings;
use Socket qw(:all);
my %setns = (x86_64 => 308, aarch64 => 268);
my ($machine) = map { chomp; $_ } qx(uname -m);
my $setns = $setns{$machine} or die "no setns on $machine\n";
open(my $home, '<', '/proc/self/ns/net') or die "own namespace: $!\n";
my (%pods, %owner, %rate, %muted);
my $readable = '';
$| = 1;
sub enter { syscall($setns, fileno($_[0]), 0x40000000) == 0 or die "setns: $!\n" }
sub watch { my ($id, $kind, $socket) = @_; $owner{fileno $socket} = [$id, $kind, $socket]; vec($readable, fileno $socket, 1) = 1 }
sub forget { my ($id) = @_;
  for my $socket (values %{ delete $pods{$id} || {} }) { delete $owner{fileno $socket}; delete $muted{fileno $socket}; vec($readable, fileno $socket, 1) = 0; close $socket }
  delete $rate{$id};
}
sub bound { my ($domain, $type, $protocol, $link) = @_;
  socket(my $socket, $domain, $type, $protocol) or die "socket: $!\n";
  setsockopt($socket, SOL_SOCKET, 25, $link . "\0") or die "bind to $link: $!\n";
  setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
  return $socket;
}
sub sockets { my ($link) = @_; my %made;
  my $v4 = $made{4} = bound(AF_INET, SOCK_DGRAM, IPPROTO_UDP, $link);
  setsockopt($v4, SOL_SOCKET, SO_BROADCAST, 1) or die "broadcast: $!\n";
  bind($v4, pack_sockaddr_in(67, INADDR_ANY)) or die "port 67: $!\n";
  my $request = pack('a16 i x20', $link, 0);
  ioctl($v4, 0x8933, $request) or die "index of $link: $!\n";
  my $index = (unpack('a16 i', $request))[1];
  my $v6 = bound(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, $link);
  setsockopt($v6, IPPROTO_IPV6, 26, 1);
  if (bind($v6, pack_sockaddr_in6(547, IN6ADDR_ANY))) {
    setsockopt($v6, IPPROTO_IPV6, 20, inet_pton(AF_INET6, 'ff02::1:2') . pack('I', $index)) or die "DHCPv6 group: $!\n";
    $made{6} = $v6;
    my $rs = $made{rs} = bound(AF_INET6, SOCK_RAW, 58, $link);
    my $filter = "\xff" x 32; vec($filter, 133, 1) = 0;
    setsockopt($rs, 58, 1, $filter) or die "filter: $!\n";
    setsockopt($rs, IPPROTO_IPV6, 18, 255); setsockopt($rs, IPPROTO_IPV6, 16, 255);
    setsockopt($rs, IPPROTO_IPV6, 20, inet_pton(AF_INET6, 'ff02::2') . pack('I', $index));
  }
  return \%made;
}
sub open_pod { my ($id, $netns, $link) = @_;
  forget($id);
  my $made = eval {
    open(my $there, '<', "/run/netns/$netns") or die "namespace $netns: $!\n";
    enter($there);
    my $result = eval { sockets($link) }; my $problem = $@;
    enter($home);
    die $problem unless $result;
    $result;
  };
  if (!$made) { my $text = $@; $text =~ s/\s+/ /g; print "failed $id $text\n"; return }
  $pods{$id} = $made;
  watch($id, $_, $made->{$_}) for keys %$made;
  print "opened $id\n";
}
sub transmit { my ($id, $kind, @rest) = @_; my $pod = $pods{$id} or return; my $data = pack('H*', $rest[-1]);
  if ($kind eq '4') { send($pod->{4}, $data, 0, pack_sockaddr_in(68, INADDR_BROADCAST)) }
  elsif ($kind eq '6' && $pod->{6}) { send($pod->{6}, $data, 0, pack_sockaddr_in6(546, inet_pton(AF_INET6, $rest[0]))) }
  elsif ($kind eq 'ra' && $pod->{rs}) { send($pod->{rs}, $data, 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, 'ff02::1'))) }
}
sub receive { my ($id, $kind, $socket) = @{ $_[0] };
  my $from = recv($socket, my $data, 1500, MSG_DONTWAIT); return unless defined $from;
  my $second = time; my $rate = $rate{$id} ||= [0, 0];
  @$rate = ($second, 0) if $rate->[0] != $second;
  # a flood waits in the kernel until the next second, and is lost there
  if (++$rate->[1] > 20) { $muted{fileno $socket} = $second; vec($readable, fileno $socket, 1) = 0; return }
  my $address = $kind eq '4' ? inet_ntoa((unpack_sockaddr_in($from))[1]) : inet_ntop(AF_INET6, (unpack_sockaddr_in6($from))[1]);
  print "packet $id $kind $address ", unpack('H*', $data), "\n";
}
my $input = '';
vec($readable, 0, 1) = 1;
while (1) {
  my $count = select(my $ready = $readable, undef, undef, %muted ? 0.25 : undef);
  for my $number (keys %muted) { if ($muted{$number} != time) { delete $muted{$number}; vec($readable, $number, 1) = 1 } }
  $count > 0 or next;
  for my $number (keys %owner) { receive($owner{$number}) if $owner{$number} && vec($ready, $number, 1) }
  next unless vec($ready, 0, 1);
  sysread(STDIN, $input, 65536, length $input) or exit 0;
  while ($input =~ s/^([^\n]*)\n//) {
    my ($verb, @words) = split / /, $1;
    if ($verb eq 'open') { open_pod(@words) } elsif ($verb eq 'send') { transmit(@words) } elsif ($verb eq 'close') { forget(@words) }
  }
}
`;
