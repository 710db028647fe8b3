/**
 * Perl program that ends guests at their deadlines. It is a process of its own: it must act when the agent hangs, is stopped
 * or is gone. Arguments: directory of the files `deadlines` (written by the agent), `alive` and `fenced` (written here).
 */
export const WATCHDOG_PROGRAM = String.raw`
use strict; use warnings;
use Time::HiRes qw(clock_gettime CLOCK_BOOTTIME sleep);
my ($directory) = @ARGV;
$SIG{TERM} = sub { exit 0 };
sub now { int(clock_gettime(CLOCK_BOOTTIME) * 1000) }
sub slurp { my ($path) = @_; open(my $file, '<', $path) or return ''; local $/; my $text = <$file>; $text // '' }
sub started { my ($pid) = @_; my $stat = slurp("/proc/$pid/stat"); $stat =~ s/^.*\) // or return -1; my @fields = split / /, $stat; $fields[0] =~ /[ZX]/ ? -1 : $fields[19] }
sub replace { my ($name, $text) = @_;
  open(my $file, '>', "$directory/$name.new") or return; print $file $text; close $file; rename "$directory/$name.new", "$directory/$name" }
my ($beat, %noted) = (0);
if (open(my $ready, '>&=', 3)) { syswrite $ready, "ready\n"; close $ready }
while (1) {
  my $now = now();
  if ($now - $beat >= 1000) { replace('alive', $now); $beat = $now }
  for my $line (split /\n/, slurp("$directory/deadlines")) {
    my ($pid, $ticks, $deadline, $pod) = $line =~ /^(\d+) (\d+) (\d+) ([0-9A-Za-z-]+)$/ or next;
    next if $deadline > $now || started($pid) != $ticks;
    kill 'KILL', $pid;
    next if $noted{$line}++;
    if (open(my $log, '>>', "$directory/fenced")) { print $log "$now $pod\n"; close $log }
    print qq({"level":"warn","msg":"the lease of this node is lost: ended a guest","pod":"$pod"}\n);
  }
  sleep 0.25;
}
`;
