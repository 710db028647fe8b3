import { type CommandRunner, HostError, type IpCommand } from '@slipway/hostapi';
import type { CniAttachment } from './cni.ts';
import type { OvsNetwork } from './cni-config.ts';

export interface OvsPortDeps {
  readonly runner: CommandRunner;
  readonly ip: IpCommand;
}

const TIMEOUT_MS = 15_000;
/**
 * Switches the transmit checksums of a link off (SIOCETHTOOL, ETHTOOL_STXCSUM): the daemon's own data path passes frames on
 * as it gets them, and would pass on those that a card was to complete. perl is always there, ethtool is not.
 */
const COMPLETE_CHECKSUMS = `socket(my $socket, 2, 2, 0) or die $!;
my $value = pack("LL", 0x17, 0);
ioctl($socket, 0x8946, pack("a16P", $ARGV[0], $value)) or die "$ARGV[0]: $!"`;

/**
 * Joins pods to bridges of Open vSwitch. The bridge is the administrator's: its data path may be the kernel's or that of
 * the daemon, which needs no kernel module.
 */
export class OvsPorts {
  readonly #deps: OvsPortDeps;

  constructor(deps: OvsPortDeps) {
    this.#deps = deps;
  }

  async add({ hostLink, ifname, netns }: CniAttachment, network: OvsNetwork, signal: AbortSignal): Promise<void> {
    const { ip, runner } = this.#deps;
    await this.#vsctl(['br-exists', network.bridge], network.bridge, signal);
    const mtu = network.mtu === undefined ? '' : ` mtu ${network.mtu}`;
    await ip.batch(
      [`link add ${hostLink}${mtu} type veth peer name ${ifname}${mtu} netns ${netns}`, `link set ${hostLink} up`],
      signal,
    );
    const { stdout } = await this.#vsctl(['get', 'bridge', network.bridge, 'datapath_type'], network.bridge, signal);
    if (stdout.includes('netdev'))
      await runner.run(['nsenter', `--net=/run/netns/${netns}`, 'perl', '-e', COMPLETE_CHECKSUMS, ifname], {}, signal);
    const add = ['--may-exist', 'add-port', network.bridge, hostLink, ...portColumns(network)];
    await this.#vsctl(add, network.bridge, signal);
    await this.#requireSeen(hostLink, network.bridge, signal);
  }

  /** A daemon that cannot open the link notes so in its database, which is no failure of the command. */
  async #requireSeen(hostLink: string, bridge: string, signal: AbortSignal): Promise<void> {
    const { stdout } = await this.#vsctl(['get', 'interface', hostLink, 'ofport', 'error'], bridge, signal);
    const [port = '', error = ''] = stdout.trim().split('\n');
    if (Number(port) > 0) return;
    await this.#vsctl(['--if-exists', 'del-port', hostLink], bridge, signal);
    throw new HostError(
      `Cannot use bridge "${bridge}" of Open vSwitch: its daemon does not see link ${hostLink} (${error}); it may run in ` +
        'another network namespace, as that of this machine is for a node of several',
      { command: 'ovs-vsctl' },
    );
  }

  /** What is gone already is no error, nor is a daemon that does not answer: the link goes all the same. */
  async delete({ hostLink }: CniAttachment, signal: AbortSignal): Promise<void> {
    const { ip } = this.#deps;
    const steps = [
      () => this.#vsctl(['--if-exists', 'del-port', hostLink], hostLink, signal),
      () => ip.batch([`link del ${hostLink}`], signal, { force: true }),
    ];
    for (const step of steps)
      await step().catch((error: unknown) => {
        if (!(error instanceof HostError)) throw error;
      });
  }

  async check({ hostLink }: CniAttachment, network: OvsNetwork, signal: AbortSignal): Promise<void> {
    const { stdout } = await this.#vsctl(['port-to-br', hostLink], network.bridge, signal);
    if (stdout.trim() !== network.bridge)
      throw new HostError(`Link ${hostLink} is on bridge ${stdout.trim()} instead of ${network.bridge}`, {
        command: 'ovs-vsctl',
      });
  }

  async #vsctl(args: readonly string[], bridge: string, signal: AbortSignal): Promise<{ readonly stdout: string }> {
    try {
      return await this.#deps.runner.run(['ovs-vsctl', '--timeout=10', ...args], { timeoutMs: TIMEOUT_MS }, signal);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      const reason =
        args[0] === 'br-exists' && error.exitCode === 2
          ? 'there is no such bridge; make it with "ovs-vsctl add-br"'
          : isMissing(error)
            ? 'Open vSwitch is not installed on this node; on Debian: "apt-get install openvswitch-switch"'
            : error.stderrTail.trim() || error.message;
      throw new HostError(`Cannot use bridge "${bridge}" of Open vSwitch: ${reason}`, { command: error.command, cause: error });
    }
  }
}

const isMissing = (error: HostError): boolean => error.exitCode === undefined && error.message.includes('is not installed');

function portColumns({ vlan, trunk }: OvsNetwork): string[] {
  const trunks = trunk.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
  return [
    ...(vlan === undefined ? [] : [`tag=${vlan}`]),
    ...(trunks.length === 0 ? [] : [`trunks=${trunks.join(',')}`, ...(vlan === undefined ? [] : ['vlan_mode=native-untagged'])]),
  ];
}
