import type { DomainRef } from './domain-event.ts';
import { PROGRAM } from './protocol.ts';
import type { RpcCall, RpcConnection, RpcReply } from './rpc-connection.ts';
import { XdrWriter } from './xdr.ts';

type WriteArgs = (args: XdrWriter) => XdrWriter;
type CallLimits = Pick<RpcCall, 'timeoutMs' | 'maxStreamBytes'>;

/** Calls of libvirt's programs, with their arguments as they go over the wire. */
export class LibvirtCalls {
  private readonly rpc: RpcConnection;

  constructor(rpc: RpcConnection) {
    this.rpc = rpc;
  }

  /** A call that names no domain. */
  remote(name: string, procedure: number, write?: WriteArgs, limits: CallLimits = {}): Promise<RpcReply> {
    const args = write && { args: write(new XdrWriter()).toBuffer() };
    return this.rpc.call({ program: PROGRAM.remote, procedure, name, ...args, ...limits });
  }

  /** A call about a domain, which is its first argument. */
  onDomain(
    name: string,
    procedure: number,
    domain: DomainRef,
    write: WriteArgs = (args) => args,
    limits: CallLimits = {},
  ): Promise<RpcReply> {
    return this.rpc.call({ program: PROGRAM.remote, procedure, name, args: write(writeDomain(domain)).toBuffer(), ...limits });
  }

  /** A call about a domain that only QEMU's driver knows. */
  onQemu(name: string, procedure: number, domain: DomainRef, write: WriteArgs): Promise<RpcReply> {
    return this.rpc.call({ program: PROGRAM.qemu, procedure, name, args: write(writeDomain(domain)).toBuffer() });
  }
}

const writeDomain = ({ name, uuid, id }: DomainRef): XdrWriter => new XdrWriter().string(name).opaque(uuid).int(id);
