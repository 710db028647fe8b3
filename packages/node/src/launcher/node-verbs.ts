import type { Duplex } from 'node:stream';
import { NodeVerb } from '@slipway/api';
import { badRequest, StatusError } from '@slipway/apimachinery';
import type { NodeCall, NodeHandlers } from '@slipway/runtime';
import { openForward, parseForward } from '../console/index.ts';
import { DOMAIN_STATE, type DomainRef, type LibvirtConnection } from '../libvirt/index.ts';
import type { FreezeTimers } from './freeze-timers.ts';
import { GuestAgent } from './guest-agent.ts';
import { guestStats } from './guest-stats.ts';
import type { Launch } from './launch.ts';
import type { GuestControl } from './launch-view.ts';

export interface NodeVerbDeps {
  readonly find: (namespace: string, name: string, uid: string) => Launch;
  readonly freezes: FreezeTimers;
}

interface Target {
  readonly launch: Launch;
  readonly session: GuestControl;
  readonly libvirt: LibvirtConnection;
  readonly domain: DomainRef;
}

type CallHandler = (target: Target, params: NodeCall['params']) => Promise<unknown>;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

const notRunning = (): StatusError =>
  new StatusError({ code: 409, reason: 'Conflict', message: 'The virtual machine is not running on this node' });

/** The condition from which the server has seen that the guest is paused may be older than its end. */
async function unpause(libvirt: LibvirtConnection, domain: DomainRef): Promise<void> {
  try {
    await libvirt.resume(domain);
  } catch (error) {
    if ((await libvirt.state(domain)).state !== DOMAIN_STATE.running) throw error;
    throw new StatusError({ code: 409, reason: 'Conflict', message: 'VMI is not paused' }, error);
  }
}

/** Answers what the server asks about guests of this node. */
export function launcherHandlers({ find, freezes }: NodeVerbDeps): NodeHandlers {
  const launchOf = ({ params }: NodeCall): { launch: Launch; session: GuestControl } => {
    const launch = find(text(params['namespace']), text(params['name']), text(params['uid']));
    if (launch.session === undefined) throw notRunning();
    return { launch, session: launch.session };
  };

  const calls: Readonly<Record<string, CallHandler>> = {
    [NodeVerb.pause]: ({ libvirt, domain }) => libvirt.suspend(domain),
    [NodeVerb.unpause]: ({ libvirt, domain }) => unpause(libvirt, domain),
    [NodeVerb.reset]: ({ libvirt, domain }) => libvirt.reset(domain),
    [NodeVerb.softreboot]: ({ libvirt, domain }) => libvirt.reboot(domain, 'agent').catch(() => libvirt.reboot(domain, 'acpi')),
    [NodeVerb.memoryDump]: ({ launch, libvirt, domain }, params) => launch.dumpMemory(libvirt, domain, text(params['claimName'])),
    [NodeVerb.saveMemory]: ({ launch, libvirt, domain }, params) => launch.saveMemory(libvirt, domain, text(params['claimName'])),
    [NodeVerb.freeze]: ({ launch }, params) => freezes.freeze(launch.freezable(), Number(params['unfreezeTimeoutSeconds'] ?? 0)),
    [NodeVerb.unfreeze]: ({ launch }) => freezes.thaw(launch.freezable()),
    [NodeVerb.guestosinfo]: ({ libvirt, domain }) => new GuestAgent(libvirt, domain).info(),
    [NodeVerb.userlist]: ({ libvirt, domain }) => new GuestAgent(libvirt, domain).users(),
    [NodeVerb.filesystemlist]: ({ libvirt, domain }) => new GuestAgent(libvirt, domain).fileSystems(),
    [NodeVerb.stats]: ({ libvirt, domain }, { agent, migrating }) =>
      guestStats(libvirt, domain, { asksAgent: agent === true, isMigrating: migrating === true }),
    [NodeVerb.vncScreenshot]: async ({ libvirt, domain }) => ({
      png: (await libvirt.screenshot(domain)).image.toString('base64'),
    }),
  };

  return {
    async call(call) {
      const handler = calls[call.verb];
      if (handler === undefined) throw badRequest(`This node does not know the call "${call.verb}"`);
      const { launch, session } = launchOf(call);
      const [libvirt, domain] = [await session.libvirt(), await session.domain()];
      return (await handler({ launch, session, libvirt, domain }, call.params)) ?? {};
    },

    async open(call): Promise<Duplex> {
      const { launch, session } = launchOf(call);
      switch (call.verb) {
        case NodeVerb.console:
          if (session.console === undefined) throw notRunning();
          return session.console.attach();
        case NodeVerb.vnc:
          if (session.vnc === undefined) throw notRunning();
          return session.vnc.open({ preserveSession: call.params['preserveSession'] === true });
        case NodeVerb.usbredir:
          if (session.usb === undefined) throw notRunning();
          return session.usb.open();
        case NodeVerb.portforward: {
          const [address] = launch.addresses;
          if (address === undefined) throw notRunning();
          return openForward({ address, ...parseForward(call.params) });
        }
        default:
          throw badRequest(`This node does not know the stream "${call.verb}"`);
      }
    },
  };
}
